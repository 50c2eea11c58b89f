// From the parameters of a mixture to the arrays that kernels read.
#pragma once

#include <cstdint>
#include <vector>

#include "cuda/factor_form.h"
#include "cuda/memory.h"
#include "cuda/model.h"
#include "estep/request.h"

namespace vbfast::cuda {

// A mixture on the device. Which of the models is there follows from `factors` and `whitens`.
template <class T>
class PackedMixture {
  public:
    // Where `gradient` is wanted rows are not whitened.
    PackedMixture(const estep::MixtureParameters& parameters, bool gradient,
                  std::size_t shared_bytes_limit, cudaStream_t stream);

    // Components have triangular factors of their own, or one that rows are not whitened with.
    bool factors;
    // Rows are multiplied by the one factor of all first: its distances are of whitened rows.
    bool whitens;
    FactorPlan plan;
    FactorLines<T> lines;  // of the factor alone where rows are whitened
    Distance kind;
    DistanceModel<T> distance;
    // What moments are taken about, (K, D), in T and on the device.
    const T* centres;
    // Where all components are near, moments may be taken about one point, (D,).
    bool all_near;
    const T* origin;
    // The same on the host.
    std::vector<T> host_centres, host_origin;
    bool extreme;  // squares of differences may leave the range of T

  private:
    void find_origin(const estep::MixtureParameters& parameters);
    double far(const estep::MixtureParameters& parameters, std::int64_t k) const;
    void pack_lines(const estep::MixtureParameters& parameters, std::int64_t n_components,
                    const T* centres, bool with_low);
    void pack_distance(const estep::MixtureParameters& parameters);
    void pack_whitened(const estep::MixtureParameters& parameters);

    std::vector<T> host_offset_, host_lines_, host_points_, host_scales_, host_intercepts_,
        host_half_precision_;
    Buffer offset_, lines_, centres_, origin_, points_, scales_, intercepts_, half_precision_;
};

}  // namespace vbfast::cuda
