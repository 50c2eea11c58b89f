// What the kernels of truncated posteriors read and write: log-joints of pairs of a row and a
// component, lanes across features. Plain data, as table.h asks.
#pragma once

#include <cstdint>

#include "kernels/estep/model.h"

namespace vbfast::estep {

// Rows that are searched together: one bit each of a number.
constexpr int candidate_rows = 64;

// A mixture, every component by itself and with its features in lanes. Rows of parameters are
// zero-padded to `padded_features`.
//
// Rows are given as they came, and a centre that float32 does not hold has a low part: differences
// keep the digits that the row's own distance allows, wherever rows and centres lie.
template <class T>
struct CandidateModel {
    Form form;  // full (and tied, with a stride of zero), diag (and spherical) or linear
    std::int64_t n_components;
    std::int64_t n_features;
    std::int64_t padded_features;
    const T* offset;   // (n_components,)
    const T* centres;  // (n_components, padded_features)
    // What rounding to float32 took from them, (n_components, padded_features); under a diagonal
    // form minus that, times the scale. Null in float64.
    const T* centres_low;
    // diag: scales; linear: theta, both (n_components, padded_features). full: the factor in blocks
    // of columns, see pairs-inl.h.
    const T* factor;
    std::int64_t factor_stride;  // from one component to the next
};

// Rows anywhere, of which some are wanted.
struct RowsAt {
    const char* rows;         // any alignment
    std::int64_t row_stride;  // bytes, of either sign
    std::int64_t feature_stride;
};

// The pairs of some rows and components, ordered by component.
template <class T>
struct PairBlock {
    const T* rows;                   // (candidate_rows, padded_features)
    std::int64_t n_components;       // that some row meets
    const std::int32_t* components;  // (n_components,)
    const std::int32_t* first;       // (n_components + 1,): where a component's pairs begin
    const std::uint8_t* row;         // of every pair
    T* log_joint;                    // (n_components, candidate_rows): -inf where there is no pair
    T* centred;                      // scratch, (8, padded_features)
};

// The best components of the rows of a block: (n_kept, candidate_rows), the best first.
template <class T>
struct BestPairs {
    std::int64_t n_kept;
    T* log_joint;  // -inf for none
    T* place;      // among the components of the block; -1 for none
};

}  // namespace vbfast::estep
