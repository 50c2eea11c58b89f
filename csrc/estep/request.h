// What a pass over the rows is given: a mixture, and what is wanted of it.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/estep/model.h"
#include "kernels/estep/tile.h"

namespace vbfast::estep {

// A mixture as the families describe it: l_nk = offset_k - 1/2 ||(x_n - mean_k) P_k||^2, or, where
// the form is linear, l_nk = offset_k + x_n theta_k.
struct MixtureParameters {
    Form form;
    std::int64_t n_components;
    std::int64_t n_features;
    const double* offset;        // (K,)
    const double* means;         // (K, D), which moments are about
    const double* coefficients;  // P: (K, D, D), (D, D), (K, D) or (K,), by form; theta: (K, D)
};

// What a pass is asked for. Outputs are null or arrays over all N rows, in the precision of the
// pass.
struct PassRequest {
    Assignment assignment;
    Moments moments;
    bool entropy;
    std::vector<std::int64_t> bounds;  // partition p has the rows bounds[p] to bounds[p + 1]
    std::int64_t tile_rows;            // counted from the start of a partition
    bool split_components;             // of one partition, whose tiles threads share
    std::int64_t open_partitions;      // partial statistics that are alive at a time
    void* log_evidence;                // (N,)
    std::int64_t* labels;
    void* resp;                // (N, K)
    void* row_entropy;         // (N,)
    void* expected_log_joint;  // (N,)
    void* gradient;            // (N, D)
    void* log_joint;           // (N, K)
};

}  // namespace vbfast::estep
