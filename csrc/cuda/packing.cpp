#include "cuda/packing.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cuda/factor_packing.h"
#include "cuda/mathematics.h"

namespace vbfast::cuda {

namespace {

using estep::Form;
using estep::MixtureParameters;

// Squared distance from the origin, in squared standard deviations of the narrowest direction, up
// to which moments and whitened rows about it are accurate enough. As on the CPU, see
// estep/packing.cpp.
template <class T>
constexpr double near_limit = sizeof(T) == 8 ? 1e6 : 1024;

// What is left of a number that is rounded.
template <class T>
double left_out(double value, T rounded) {
    return value - static_cast<double>(rounded);
}

// The largest squared norm of a column of an upper-triangular P.
double largest_column(const double* P, std::int64_t D) {
    double largest = 0;
    for (std::int64_t j = 0; j < D; ++j) {
        double square = 0;
        for (std::int64_t i = 0; i <= j; ++i) square += P[i * D + j] * P[i * D + j];
        largest = std::max(largest, square);
    }
    return largest;
}

// Whether some precision has no number in T, or is so small that squares of distances may overflow
// before they are multiplied by it.
template <class T>
bool precisions_leave_range(const MixtureParameters& spherical) {
    const double largest = std::numeric_limits<T>::max(), least = 1 / std::cbrt(largest);
    for (std::int64_t k = 0; k < spherical.n_components; ++k) {
        const double P = spherical.coefficients[k];
        if (!(P >= least && 0.5 * P * P <= largest)) return true;
    }
    return false;
}

}  // namespace

template <class T>
PackedMixture<T>::PackedMixture(const MixtureParameters& parameters, bool gradient, bool pooled,
                                std::optional<bool> tensor_cores, const DeviceInfo& device,
                                cudaStream_t stream)
    : plan{}, lines{}, product_plan{}, steps{}, kind(Distance::plain), distance{} {
    const std::int64_t K = parameters.n_components, D = parameters.n_features;
    for (std::int64_t k = 0; k < K; ++k)
        host_offset_.push_back(static_cast<T>(parameters.offset[k]));
    extreme = false;
    for (std::int64_t i = 0; i < K * D; ++i) {
        const double mean = parameters.form == Form::linear ? 0 : parameters.means[i];
        host_centres.push_back(as_finite<T>(mean));
        extreme = extreme || !(std::fabs(mean) < (sizeof(T) == 4 ? 1e9 : 1e75));
    }
    find_origin(parameters);
    all_near = parameters.form == Form::tied || pooled;  // nobody asks otherwise
    for (std::int64_t k = 0; k < K && all_near; ++k)
        all_near = far(parameters, k) <= near_limit<T>;  // false for NaN

    centres = upload(centres_, host_centres, stream);
    origin = upload(origin_, host_origin, stream);
    choose_method(parameters, gradient, tensor_cores, device);
    if (method != Method::distances) pack_factors(parameters, stream);
    if (method == Method::whitened) pack_whitened(parameters);
    if (method == Method::distances) pack_distance(parameters);

    lines.offset = steps.offset = distance.offset = upload(offset_, host_offset_, stream);
    distance.centres = host_points_.empty() ? centres : upload(points_, host_points_, stream);
    if (!host_scales_.empty()) {
        distance.scales = upload(scales_, host_scales_, stream);
        distance.intercepts = upload(intercepts_, host_intercepts_, stream);
    }
    if (!host_half_precision_.empty())
        distance.half_precision = upload(half_precision_, host_half_precision_, stream);
}

template <class T>
void PackedMixture<T>::choose_method(const MixtureParameters& parameters, bool gradient,
                                     std::optional<bool> tensor_cores, const DeviceInfo& device) {
    const int D = static_cast<int>(parameters.n_features);
    method = Method::distances;
    if (parameters.form != Form::full && parameters.form != Form::tied) return;
    plan = plan_factor<T>(D, device.shared_bytes);
    product_plan = plan_products<T>(D, device.shared_bytes);
    if (parameters.form == Form::tied && all_near && !gradient)
        method = Method::whitened;
    else if (!gradient && product_plan.warps > 0 && products_pay<T>(D, device, tensor_cores))
        method = Method::products;
    else
        method = Method::lines;
}

// The median of each coordinate of the means of possible components, which a stray one does not
// move.
template <class T>
void PackedMixture<T>::find_origin(const MixtureParameters& parameters) {
    const std::int64_t K = parameters.n_components, D = parameters.n_features;
    host_origin.assign(static_cast<std::size_t>(D), T(0));
    std::vector<T> column;
    for (std::int64_t d = 0; d < D; ++d) {
        column.clear();
        for (std::int64_t k = 0; k < K; ++k)
            if (std::isfinite(parameters.offset[k])) column.push_back(host_centres[k * D + d]);
        if (column.empty()) return;
        const auto middle = column.begin() + static_cast<std::ptrdiff_t>(column.size() / 2);
        std::nth_element(column.begin(), middle, column.end());
        host_origin[static_cast<std::size_t>(d)] = *middle;
    }
}

// The squared distance of a mean from the origin, in squared standard deviations of the narrowest
// direction.
template <class T>
double PackedMixture<T>::far(const MixtureParameters& parameters, std::int64_t k) const {
    const std::int64_t D = parameters.n_features;
    if (parameters.form == Form::linear) return 0;
    double norm = 0, by_feature = 0;
    for (std::int64_t d = 0; d < D; ++d) {
        const double mean =
            left_out(parameters.means[k * D + d], host_origin[static_cast<std::size_t>(d)]);
        double scale = 1;
        if (parameters.form == Form::diag) scale = parameters.coefficients[k * D + d];
        if (parameters.form == Form::spherical) scale = parameters.coefficients[k];
        norm += mean * mean;
        by_feature = std::max(by_feature, mean * mean * scale * scale);
    }
    if (parameters.form == Form::full)
        return norm * largest_column(parameters.coefficients + k * D * D, D);
    if (parameters.form == Form::tied) return norm * largest_column(parameters.coefficients, D);
    return by_feature;
}

// Copies the factors to the device, where they are packed.
template <class T>
void PackedMixture<T>::pack_factors(const MixtureParameters& parameters, cudaStream_t stream) {
    const std::int64_t K = parameters.n_components, D = parameters.n_features;
    const auto copy = [&](Buffer& buffer, const double* from, std::int64_t count) {
        double* to = buffer.reserve<double>(count);
        check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(count) * sizeof(double),
                              cudaMemcpyHostToDevice, stream),
              "a copy to the device");
        return to;
    };
    Factors<T> given{};
    given.shared = parameters.form == Form::tied;
    given.matrices = copy(matrices_, parameters.coefficients, (given.shared ? 1 : K) * D * D);
    given.n_features = static_cast<int>(D);
    // Rows are whitened about the origin, which is a number of T.
    const bool whitens = method == Method::whitened;
    given.n_components = whitens ? 1 : static_cast<int>(K);
    given.points = whitens ? origin : centres;
    if (!whitens) given.means = copy(means_, parameters.means, K * D);
    if (method == Method::products) {
        constexpr std::int64_t J = kept_columns<T>, F = step_features<T>;
        steps.steps_per_component = 0;
        for (std::int64_t first = 0; first < D; first += J)
            steps.steps_per_component += (std::min(first + J, D) + F - 1) / F;
        T* out = factors_.reserve<T>(K * steps.steps_per_component * step_length<T>);
        pack_steps(given, steps.steps_per_component, out, stream);
        steps.records = out;
        return;
    }
    lines.columns = plan.columns;
    lines.line_multiple = plan.line_multiple;
    lines.lines_per_component = 0;
    for (int first = 0; first < D; first += plan.columns)
        lines.lines_per_component += lines.length(first, static_cast<int>(D));
    T* out =
        factors_.reserve<T>(given.n_components * lines.lines_per_component * lines.line_length());
    pack_lines(given, lines, out, stream);
    lines.lines = out;
}

// Means of a tied mixture as distances of whitened rows have them.
template <class T>
void PackedMixture<T>::pack_whitened(const MixtureParameters& parameters) {
    const std::int64_t K = parameters.n_components, D = parameters.n_features;
    host_half_precision_.assign(static_cast<std::size_t>(K), T(0.5));
    std::vector<double> whitened(static_cast<std::size_t>(D));
    for (std::int64_t k = 0; k < K; ++k) {
        std::fill(whitened.begin(), whitened.end(), 0.0);
        for (std::int64_t i = 0; i < D; ++i) {
            const double mean =
                left_out(parameters.means[k * D + i], host_origin[static_cast<std::size_t>(i)]);
            for (std::int64_t j = i; j < D; ++j)
                whitened[static_cast<std::size_t>(j)] += mean * parameters.coefficients[i * D + j];
        }
        for (const double value : whitened) host_points_.push_back(static_cast<T>(value));
    }
}

template <class T>
void PackedMixture<T>::pack_distance(const MixtureParameters& parameters) {
    const std::int64_t K = parameters.n_components, D = parameters.n_features;
    if (parameters.form == Form::linear) {
        kind = Distance::linear;
        for (std::int64_t i = 0; i < K * D; ++i)
            host_points_.push_back(as_finite<T>(parameters.coefficients[i]));
        return;
    }
    // Without scales there is no room for the low half of a centre: float32 has few digits of means
    // that are far from zero.
    bool plain = parameters.form == Form::spherical && !precisions_leave_range<T>(parameters);
    for (std::int64_t i = 0; plain && sizeof(T) == 4 && i < K * D; ++i) {
        const double size = parameters.means[i] * parameters.coefficients[i / D];
        plain = size * size <= near_limit<T>;
    }
    if (plain) {
        kind = Distance::plain;
        for (std::int64_t k = 0; k < K; ++k) {
            const double P = parameters.coefficients[k];
            host_half_precision_.push_back(static_cast<T>(0.5 * P * P));
        }
        return;
    }
    kind = Distance::scaled;
    for (std::int64_t i = 0; i < K * D; ++i) {
        const double scale =
            parameters.coefficients[parameters.form == Form::spherical ? i / D : i];
        const double low = left_out(parameters.means[i], host_centres[static_cast<std::size_t>(i)]);
        host_scales_.push_back(as_finite<T>(scale));
        host_intercepts_.push_back(as_finite<T>(-low * scale));
    }
}

template class PackedMixture<float>;
template class PackedMixture<double>;

}  // namespace vbfast::cuda
