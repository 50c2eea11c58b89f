// One pass with truncated posteriors: every row has responsibilities for a few components alone,
// found among the neighbours of those that it had before.
#pragma once

#include <cstdint>
#include <memory>

#include "estep/request.h"
#include "estep/workspace.h"
#include "kernels/estep/candidates.h"
#include "kernels/estep/tile.h"
#include "runtime/threads.h"

namespace vbfast::estep {

struct TruncatedRequest {
    Assignment assignment;  // posterior or hard
    Moments moments;
    bool entropy;              // whether its sum and that of the expected log-joint are wanted
    std::int64_t n_kept;       // components that a row keeps
    std::int64_t n_neighbors;  // of a component
    std::int64_t n_random;     // components drawn for a row
    std::uint64_t key;         // of these draws
    // (n_components, n_neighbors), -1 for none; or null. To stay while the pass lasts.
    const std::int32_t* neighbors;
    const std::int32_t* candidates;  // of all rows, beside these; or null. Likewise
    std::int64_t n_candidates;
    const std::int64_t* cell_begin;    // (n_components + 1,), or null, see SearchRules. Likewise
    const std::int32_t* cell_members;  // (cell_begin[n_components],)
    bool learn;                        // neighbours, from what is evaluated
    const double* about;  // (n_components, n_features), for moments; null for the means
};

// Consecutive rows, in the precision of the pass. Outputs may be null.
struct TruncatedRows {
    RowsAt at;
    std::int64_t start;  // number of the first row
    std::int64_t n_rows;
    const double* weights;  // (n_rows,) or null
    std::int32_t* kept;     // (n_rows, n_kept): components, the best first; -1 for none. Renewed
    void* log_evidence;     // (n_rows,), over what is kept
    void* resp;             // (n_rows, n_kept)
};

// Sums depend on the rows, on how they are cut into calls of `run`, and on nothing else. Methods
// throw Interrupted, after which the pass is of no use; an interrupt may be null.
class TruncatedPass {
  public:
    virtual ~TruncatedPass() = default;
    // Returns the first row that is not finite, or -1.
    virtual std::int64_t run(const TruncatedRows& rows, int num_threads,
                             const runtime::Interrupt* interrupt) = 0;
    virtual TileSums sums() const = 0;
    // As EStep::statistics.
    virtual void statistics(double* weight, double* first, double* second, int num_threads,
                            const runtime::Interrupt* interrupt) = 0;
    // As NeighborGraph::write.
    virtual void learned(std::int32_t* components, std::int64_t* counts, double* sums) const = 0;
};

template <class T>
std::unique_ptr<TruncatedPass> make_truncated_pass(const MixtureParameters& parameters,
                                                   const TruncatedRequest& request,
                                                   Workspace& workspace, int num_threads,
                                                   const runtime::Interrupt* interrupt);

}  // namespace vbfast::estep
