// One pass over the rows: local and summary step fused tile by tile, partitions in parallel.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "estep/row_block.h"
#include "kernels/estep/table.h"
#include "runtime/memory.h"
#include "runtime/threads.h"

namespace vbfast {

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

// Whatever takes an interrupt (or null) throws Interrupted, and is of no more use then.
class EStep {
  public:
    virtual ~EStep() = default;
    // Blocks of distinct partitions. Returns the first row that is not finite, or -1.
    virtual std::int64_t run(const std::vector<Block>& blocks, int num_threads,
                             const Interrupt* interrupt) = 0;
    // Sums over all partitions, merged in their order.
    virtual TileSums sums() const = 0;
    // Moments about the components' means: weight (K,), first (K, D) and second: full (K, D, D),
    // tied (D, D), diag (K, D), spherical (K,), the mean over the features.
    virtual void statistics(double* weight, double* first, double* second, int num_threads,
                            const Interrupt* interrupt) = 0;
};

template <class T>
std::unique_ptr<EStep> make_estep(const MixtureParameters& parameters, const PassRequest& request,
                                  Workspace& workspace, int num_threads,
                                  const Interrupt* interrupt);

}  // namespace vbfast
