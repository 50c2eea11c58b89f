// What a pass over the rows is given: a mixture, and what is wanted of it.
#pragma once

#include <cstdint>

#include "kernels/estep/model.h"
#include "kernels/estep/tile.h"

namespace vbfast::estep {

// A mixture as the families describe it: l_nk = offset_k - 1/2 ||(x_n - mean_k) P_k||^2.
struct MixtureParameters {
    Covariance covariance;
    std::int64_t n_components;
    std::int64_t n_features;
    const double* offset;
    const double* means;
    const double* precision_cholesky;  // (K, D, D), (D, D), (K, D) or (K,)
};

// What a pass is asked for. Outputs are arrays over all rows in the precision of the pass, or null.
struct PassRequest {
    Assignment assignment;
    Moments moments;
    bool entropy;
    std::int64_t n_partitions;
    std::int64_t tile_rows;
    bool split_components;
    void* log_evidence;
    std::int64_t* labels;
    void* resp;
    void* row_entropy;
    void* expected_log_joint;
    void* gradient;
    void* log_joint;
};

}  // namespace vbfast::estep
