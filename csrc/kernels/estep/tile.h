// The rows that the kernels of the E-step take at a time. Plain data, as table.h asks.
#pragma once

#include <cstdint>

namespace vbfast::estep {

enum class Assignment : int { posterior, hard, given };

// Sums that a tile adds to its partition.
struct TileSums {
    double weight;
    double log_evidence;
    double expected_log_joint;
    double entropy;
    double kl;
    double lowest_log_evidence;  // of the rows with weight; +infinity without any
};

constexpr TileSums no_sums{0, 0, 0, 0, 0, __builtin_inf()};

// Consecutive rows, where they come from, what is wanted of them, and memory to work in.
template <class T>
struct Tile {
    const char* rows;
    std::int64_t row_stride;  // bytes
    std::int64_t feature_stride;
    std::int64_t n_rows;
    const double* weights;            // (n_rows,) or null
    const T* given;                   // (n_rows, n_components) or null
    const std::int64_t* given_label;  // (n_rows,) or null

    Assignment assignment;
    bool entropy;
    T* out_log_evidence;  // each (n_rows,) or null
    std::int64_t* out_labels;
    T* out_resp;  // (n_rows, n_components)
    T* out_entropy;
    T* out_expected_log_joint;
    T* out_gradient;   // (n_rows, n_features)
    T* out_log_joint;  // (n_rows, n_components)

    // Asked between parts of a long local step whether to leave it, or null.
    bool (*stop)(void* context);
    void* stop_context;

    // Scratch, 64-byte aligned, for `capacity` rows, a multiple of the group.
    T* features;           // groups of (n_features + 2, group rows): rows in lanes
    T* raw;                // the same as they came, where some component is far; else null
    T* row_major;          // (capacity, padded_features)
    T* joint;              // groups of joint_stride, (n_components, group rows): log-joint, then
                           // responsibilities
    T* row_max;            // (capacity,)
    T* row_scale;          // (capacity,): what a responsibility is multiplied by
    T* row_weight;         // (capacity,)
    T* inverse_sum;        // (capacity,): one over the sum of the exponentials, or zero; both are
                           // other sums until kernels/estep/posterior-inl.h has seen all rows
    std::int32_t* label;   // (capacity,)
    std::int32_t* list;    // (capacity,)
    T* list_weight;        // (capacity,)
    T* group_scratch;      // (n_features, group rows)
    T* gradient;           // groups of (n_features, group rows), or (capacity, padded_features)
    std::int32_t* active;  // (max(n_components, n_features),)
    T* whitened;           // groups of (n_components, n_features, group rows), or null
    T* panel;              // moment panel or outer-product rows, `panel_size` numbers
    std::int64_t panel_size;
    std::int64_t panel_stride;  // from one of the rows to the next

    TileSums sums;
    std::int64_t bad_row;   // first row that is not finite, or -1
    bool squares_overflow;  // some row is so far from the shift that its squares are not ordinary
};

}  // namespace vbfast::estep
