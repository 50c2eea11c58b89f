// The summary step of truncated posteriors: each component visits the rows that keep it.
#pragma once

#include <cstdint>
#include <vector>

#include "estep/candidate_packing.h"
#include "estep/statistics.h"
#include "estep/workspace.h"
#include "kernels/estep/table.h"

namespace vbfast::estep {

// What a search leaves of its rows, in the order of their best components, which brings the rows of
// a component close together.
template <class T>
struct SearchedRows {
    T* rows;             // (n_rows, padded_features)
    std::int32_t* kept;  // (n_rows, n_kept)
    T* weight;  // (n_rows, n_kept): weighted responsibilities, zero where they do not count
    std::int32_t* listed;  // scratch, (n_rows, n_kept)
    T* listed_weight;
};

// Moments about the components' centres, in memory of the workspace. A component's sums run over
// its rows in their order, whoever computes them.
template <class T>
class ListedMoments {
  public:
    ListedMoments(const PackedCandidates<T>& packed, Workspace& workspace);

    // Adds rows to the moments. Throws Interrupted.
    void add(SearchedRows<T>& searched, std::int64_t n_rows, std::int64_t n_kept, int num_threads,
             const runtime::Interrupt* interrupt);
    // As EStep::statistics.
    void read(const double* means, MomentArrays moments, int num_threads,
              const runtime::Interrupt* interrupt) const;

  private:
    const Kernels<T>& kernels_;
    const PackedCandidates<T>& packed_;
    const std::int64_t size_;  // doubles of all components' moments
    double* sums_;
    double* pooled_;
};

}  // namespace vbfast::estep
