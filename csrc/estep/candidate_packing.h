// A mixture in the layout of the kernels of truncated posteriors (kernels/estep/candidates.h).
#pragma once

#include <cstdint>
#include <vector>

#include "estep/request.h"
#include "kernels/estep/table.h"
#include "runtime/threads.h"

namespace vbfast::estep {

template <class T>
struct PackedCandidates {
    CandidateModel<T> model{};
    Model<T> moments{};  // what gathered moments and read_moments ask of a model
    std::vector<T> offset, centres, centres_low, factor, about;
    std::vector<std::uint8_t> gathered;
    std::int64_t pooled_size = 0;  // doubles of the moments that components share
};

// `about` are the points that moments are taken about, (n_components, n_features), or null for the
// means. Throws Interrupted; interrupt may be null.
template <class T>
void pack_candidates(const MixtureParameters& parameters, Moments moments, const double* about,
                     const Kernels<T>& kernels, PackedCandidates<T>& packed, int num_threads,
                     const runtime::Interrupt* interrupt);

}  // namespace vbfast::estep
