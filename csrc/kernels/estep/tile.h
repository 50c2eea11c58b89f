// The rows that the kernels of the E-step take at a time. Plain data, as table.h asks.
#pragma once

#include <cstdint>

#include "runtime/numbers.h"

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

constexpr TileSums no_sums{0, 0, 0, 0, 0, runtime::infinity};

// Components whose moments tile.block_sums has room for: a block of the dense statistics.
constexpr int summed_together = 4;

// A responsibility that can change a sum: a component whose rows all have less counts as one that
// has lost them.
template <class T>
constexpr T least_responsibility = T(1e-30);

// Consecutive rows: where they lie, what is wanted of them, and memory to work in.
template <class T>
struct Tile {
    const char* rows;         // any alignment
    std::int64_t row_stride;  // bytes, of either sign
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

    // Asked between parts of a long local step whether to end it early, or null.
    bool (*stop)(void* context);
    void* stop_context;

    // Scratch, 64-byte aligned, for `capacity` rows, a multiple of the group.
    T* features;   // groups of (n_features + 2, group rows): rows in lanes, see tile-inl.h
    T* raw;        // the same as they came, where some component is far; else null
    T* row_major;  // (capacity, padded_features)
    T* joint;      // groups of joint_stride, (n_components, group rows): log-joint, then
                   // responsibilities
    T* row_max;    // (capacity,)
    // (capacity,): what a responsibility is multiplied by, and one over the sum of a row's
    // exponentials, or zero. Both hold other sums until posterior-inl.h has seen all rows.
    T* row_scale;
    T* inverse_sum;
    T* row_weight;           // (capacity,)
    std::int32_t* label;     // (capacity,)
    std::int32_t* gathered;  // (capacity,): the rows that one component gathers, and their weights
    T* gathered_weight;      // (capacity,)
    T* group_scratch;        // (n_features, group rows)
    T* gradient;             // groups of (n_features, group rows), or (capacity, padded_features)
    std::int32_t* active;    // (max(n_components, n_features),): components that count in a group
    T* whitened;             // groups of (n_components, n_features, group rows), or null
    T* panel;                // moment panel or outer-product rows, `panel_size` numbers
    std::int64_t panel_size;
    std::int64_t panel_stride;  // from one of the outer-product rows to the next

    double* block_sums;  // of `summed_together` components, or null: see sparse_moments

    TileSums sums;
    bool sparse;            // so few responsibilities count that all components gather rows
    std::int64_t bad_row;   // first row that is not finite, or -1
    bool squares_overflow;  // some row is so far from the origin that its squares are not ordinary
};

}  // namespace vbfast::estep
