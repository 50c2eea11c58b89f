// From the parameters of a mixture to the arrays that kernels read.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "cuda/device.h"
#include "cuda/factor_form.h"
#include "cuda/factor_products.h"
#include "cuda/memory.h"
#include "cuda/model.h"
#include "estep/request.h"

namespace vbfast::cuda {

// How log-joints are evaluated, and which of the models is there.
enum class Method {
    lines,     // triangular factors, FactorLines
    products,  // the same by tensor cores, FactorSteps
    whitened,  // rows are multiplied by the one factor of all first: FactorLines of that one, and
               // DistanceModel of whitened rows
    distances  // DistanceModel
};

// A mixture on the device.
template <class T>
class PackedMixture {
  public:
    // Where `gradient` is wanted triangular factors are lines. `pooled`: whether moments are.
    // `tensor_cores` as for make_estep.
    PackedMixture(const estep::MixtureParameters& parameters, bool gradient, bool pooled,
                  std::optional<bool> tensor_cores, const DeviceInfo& device, cudaStream_t stream);

    Method method;
    FactorPlan plan;
    FactorLines<T> lines;
    ProductPlan product_plan;
    FactorSteps<T> steps;
    Distance kind;
    DistanceModel<T> distance;
    // What moments are taken about, (K, D), in T and on the device.
    const T* centres;
    // Where all components are near, pooled moments may be taken about one point, (D,).
    bool all_near;
    const T* origin;
    // The same on the host.
    std::vector<T> host_centres, host_origin;
    bool extreme;  // squares of differences may leave the range of T

  private:
    void find_origin(const estep::MixtureParameters& parameters);
    double far(const estep::MixtureParameters& parameters, std::int64_t k) const;
    void choose_method(const estep::MixtureParameters& parameters, bool gradient,
                       std::optional<bool> tensor_cores, const DeviceInfo& device);
    void pack_factors(const estep::MixtureParameters& parameters, cudaStream_t stream);
    void pack_distance(const estep::MixtureParameters& parameters);
    void pack_whitened(const estep::MixtureParameters& parameters);

    std::vector<T> host_offset_, host_points_, host_scales_, host_intercepts_, host_half_precision_;
    Buffer offset_, matrices_, means_, factors_, centres_, origin_, points_, scales_, intercepts_,
        half_precision_;
};

}  // namespace vbfast::cuda
