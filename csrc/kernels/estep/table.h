// What one instruction-set level offers to the E-step: plain data and function pointers, the only
// things that cross the border between csrc/targets and the code that runs on every processor.
// Nothing in the headers of a table may have an inline function: a linker keeps one copy of those,
// perhaps the AVX-512 one, for everybody.
#pragma once

#include <cstdint>

#include "kernels/estep/candidates.h"
#include "kernels/estep/model.h"
#include "kernels/estep/nearest_search.h"
#include "kernels/estep/tile.h"
#include "runtime/tuning.h"

namespace vbfast::estep {

template <class T>
struct Kernels {
    int group_rows;         // rows that are processed together in lanes
    int factor_columns;     // columns of a block of the factor
    int linear_components;  // components of a block of theta
    int moment_components;  // block of the dense moments
    int moment_features;
    int lanes;            // numbers of a vector
    int product_columns;  // block of the gathered matrices
    // Local step: loads the rows, evaluates log-joint and responsibilities, fills outputs and sums.
    void (*local_step)(const Model<T>&, Tile<T>&);
    // Summary step for components `first` to `last` - 1, where `first` is a multiple of
    // moment_components. Adds to the partition's sums: `dense` (dense_moments-inl.h), `gathered`
    // (gathered_moments-inl.h) and `pooled`, a triangle (triangle-inl.h). Where `dense` or `pooled`
    // is null, what belongs there is left to another call.
    void (*summary_step)(const Model<T>&, Tile<T>&, std::int64_t first, std::int64_t last,
                         double* dense, double* gathered, double* pooled);
    // k-means++: adds w min(closest, |x - c|^2) to the potential of each candidate c. `candidates`
    // is (n_candidates, n_features), rows of the data, which are exact in T. `lowered` is null, or
    // takes the minima, a row of stride `lowered_stride` a candidate.
    void (*seeding_step)(Tile<T>&, std::int64_t n_features, const T* candidates,
                         std::int64_t n_candidates, const T* closest, T* lowered,
                         std::int64_t lowered_stride, double* potentials);
    // k-means by bounds: finds labels and bounds of the rows of a range. What it lists in
    // range.plain is left to nearest_labels.
    void (*search_step)(const Model<T>&, const CentreBlocks<T>&, RowRange<T>&);
    // Fills the gaps of centre k, and the bounds of the distance to the nearest other one.
    void (*gaps_of_centre)(const Model<T>&, const CentreBlocks<T>&, std::int64_t k, float* gap,
                           float* nearest_low, float* nearest_high);
    // One for each component of which log-joints take it for near, else zero.
    void (*mark_near)(const Model<T>&, T* near);
    // Loads the rows of a tile and finds tile.label and tile.row_max, the best scores.
    void (*nearest_labels)(const Model<T>&, Tile<T>&);
    // Loads the rows of a tile whose labels are known, for the summary step.
    void (*labelled_rows)(const Model<T>&, Tile<T>&, const std::int32_t* label);
    // The summary step of first moments by label, of rows that no tile has.
    void (*label_sums)(const Model<T>&, const RowRange<T>&, double* gathered);
    // Truncated posteriors: log-joints of listed pairs (pairs-inl.h), the best of each row, what
    // they tell of neighbours, the rows that they are of, and the softmax over the components that
    // a row keeps (candidate_posterior-inl.h).
    void (*pair_log_joints)(const CandidateModel<T>&, const PairBlock<T>&);
    void (*best_pairs)(const PairBlock<T>&, std::int64_t n_rows, const BestPairs<T>&);
    void (*sum_differences)(const PairBlock<T>&, std::int64_t n_rows, double* sums);
    std::int64_t (*load_candidate_rows)(const CandidateModel<T>&, const RowsAt&,
                                        const std::int32_t* index, std::int64_t n_rows, T* out);
    void (*kept_posterior)(std::int64_t n_kept, std::int64_t n_rows, T* kept, T* log_evidence);
    // Adds the moments of the rows that a tile has gathered, see gathered_moments-inl.h.
    void (*gathered_moments)(const Model<T>&, Tile<T>&, std::int64_t n_gathered, const T* mean,
                             double* sums, double* second);
};

struct Table {
    Kernels<float> f32;
    Kernels<double> f64;
};

// The kernels of the level in use (runtime/dispatch.h), in one precision.
template <class T>
const Kernels<T>& kernels();
template <>
const Kernels<float>& kernels<float>();
template <>
const Kernels<double>& kernels<double>();

}  // namespace vbfast::estep
