#include "estep/packing.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "estep/packing_gradient.h"
#include "estep/tile_memory.h"
#include "runtime/numbers.h"
#include "runtime/thread_count.h"

namespace vbfast::estep {

namespace {

#include "kernels/estep/triangle-inl.h"

// Squared distance of a mean from the origin, in squared standard deviations of the narrowest
// direction, up to which moments about the origin are accurate enough: they lose a relative epsilon
// times this.
template <class T>
constexpr double near_limit = sizeof(T) == 8 ? 1e6 : 1024;

// Up to this many features, the dense product beats gathered rows for full second moments.
constexpr std::int64_t largest_dense_full = 24;

// The components' worth of numbers from one group of the log-joint to the next: a quarter of a page
// more than whole pages, so that the same components of consecutive groups do not meet in one set
// of L1.
template <class T>
std::int64_t joint_components(std::int64_t n_components, int group_rows) {
    const std::int64_t page = 4096 / (group_rows * static_cast<std::int64_t>(sizeof(T)));
    if (n_components < page) return n_components;
    return n_components + ((page / 4 - n_components) % page + page) % page;
}

// The nearest finite number: infinity times a difference of zero would be NaN.
template <class T>
T as_finite(double value) {
    constexpr double largest = std::numeric_limits<T>::max();
    return static_cast<T>(std::clamp(value, -largest, largest));
}

// An upper-triangular factor in blocks of columns, see kernels/estep/factor_forms-inl.h.
template <class T>
void pack_factor(const double* P, std::int64_t D, int columns, T* out) {
    std::int64_t j0 = 0;
    std::int64_t width = D % columns == 0 ? columns : D % columns;
    for (; j0 < D; j0 += width, width = columns) {
        for (std::int64_t i = 0; i < j0; ++i)
            for (std::int64_t j = 0; j < width; ++j) *out++ = as_finite<T>(P[i * D + j0 + j]);
        for (std::int64_t i = 0; i < width; ++i)
            for (std::int64_t j = i; j < width; ++j)
                *out++ = as_finite<T>(P[(j0 + i) * D + j0 + j]);
    }
}

// out = x P for an upper-triangular P.
void times_factor(const double* x, const double* P, std::int64_t D, double* out) {
    std::fill(out, out + D, 0.0);
    for (std::int64_t i = 0; i < D; ++i)
        for (std::int64_t j = i; j < D; ++j) out[j] += x[i] * P[i * D + j];
}

// The largest squared norm of a column of an upper-triangular P.
double largest_column(const double* P, std::int64_t D) {
    std::vector<double> squares(static_cast<std::size_t>(D), 0.0);
    for (std::int64_t i = 0; i < D; ++i)
        for (std::int64_t j = i; j < D; ++j) squares[j] += P[i * D + j] * P[i * D + j];
    return *std::max_element(squares.begin(), squares.end());
}

// Whether a pass asks for nothing but the nearest mean, and all means are so close to the origin,
// in standard deviations, that what the scores lose of |x - mean|^2 is far less than one.
template <class T>
bool is_nearest_mean(const MixtureParameters& parameters, const PassRequest& request,
                     const std::vector<T>& half_norm) {
    if (parameters.covariance != Covariance::spherical || request.entropy ||
        request.assignment != Assignment::hard || request.log_evidence || request.resp ||
        request.row_entropy || request.expected_log_joint)
        return false;
    const double precision = parameters.precision_cholesky[0] * parameters.precision_cholesky[0];
    for (std::int64_t k = 0; k < parameters.n_components; ++k)
        if (parameters.offset[k] != parameters.offset[0] ||
            parameters.precision_cholesky[k] != parameters.precision_cholesky[0] ||
            !(2 * precision * static_cast<double>(half_norm[k]) <= near_limit<T>))
            return false;
    return true;
}

// Whether the precision of some component has no number in T, a collapsed component's, say, or is
// so small that squares of distances may overflow before they are multiplied by it.
template <class T>
bool precisions_leave_range(const MixtureParameters& spherical) {
    const double largest = std::numeric_limits<T>::max();
    const double least = 1 / std::cbrt(largest);
    for (std::int64_t k = 0; k < spherical.n_components; ++k) {
        const double P = spherical.precision_cholesky[k];
        if (!(P >= least && 0.5 * P * P <= largest)) return true;
    }
    return false;
}

// A spherical mixture as a diagonal one, whose kernels scale rows before they square them.
MixtureParameters as_diagonal(MixtureParameters parameters, std::vector<double>& scales) {
    const std::int64_t D = parameters.n_features;
    for (std::int64_t k = 0; k < parameters.n_components; ++k)
        scales.insert(scales.end(), static_cast<std::size_t>(D), parameters.precision_cholesky[k]);
    parameters.covariance = Covariance::diag;
    parameters.precision_cholesky = scales.data();
    return parameters;
}

// Whether some number has no ordinary square.
template <class T>
bool has_extreme(const std::vector<T>& numbers) {
    const T limit = std::sqrt(ordinary_square<T>);
    return !std::all_of(numbers.begin(), numbers.end(),
                        [limit](T a) { return std::fabs(a) < limit; });
}

// A point amid the means of possible components: the median of each coordinate, which a stray mean
// does not move.
template <class T>
void pack_origin(const MixtureParameters& parameters, PackedModel<T>& packed, int threads,
                 const runtime::Interrupt* interrupt) {
    const std::int64_t K = parameters.n_components, D = parameters.n_features;
    packed.origin.resize(static_cast<std::size_t>(D));
    runtime::parallel(D, threads, interrupt, [&](std::int64_t d, int, runtime::Region&) {
        std::vector<double> column;
        column.reserve(static_cast<std::size_t>(K));
        for (std::int64_t k = 0; k < K; ++k)
            if (std::isfinite(parameters.offset[k])) column.push_back(parameters.means[k * D + d]);
        if (column.empty()) return;
        const auto middle = column.begin() + static_cast<std::ptrdiff_t>(column.size() / 2);
        std::nth_element(column.begin(), middle, column.end());
        packed.origin[static_cast<std::size_t>(d)] = as_finite<T>(*middle);
    });
}

// Offsets, means about the origin, factors, and which components are near.
template <class T>
void pack_components(const MixtureParameters& parameters, const Kernels<T>& kernels,
                     PackedModel<T>& packed, int threads, const runtime::Interrupt* interrupt) {
    const std::int64_t K = parameters.n_components, D = parameters.n_features;
    const std::int64_t padded = packed.model.padded_features, triangle = D * (D + 1) / 2;
    const Covariance covariance = parameters.covariance;
    const double* P = parameters.precision_cholesky;
    const std::size_t KD = static_cast<std::size_t>(K * D);
    packed.offset.resize(K);
    packed.near.resize(K);
    packed.means.assign(static_cast<std::size_t>(K * padded), T(0));
    if (covariance == Covariance::full) packed.intercept.resize(KD);
    if (covariance == Covariance::tied) packed.whitened_means.resize(KD);
    if (covariance == Covariance::spherical) {
        packed.half_precision.resize(K);
        packed.half_norm.resize(K);
    }
    std::int64_t factor_stride = 0;
    if (covariance == Covariance::full) factor_stride = triangle;
    if (covariance == Covariance::diag) factor_stride = 2 * D;
    packed.model.factor_stride = factor_stride;
    packed.factor.resize(
        static_cast<std::size_t>(covariance == Covariance::tied ? triangle : factor_stride * K));
    if (covariance == Covariance::tied)
        pack_factor(P, D, kernels.factor_columns, packed.factor.data());

    const double tied_scale = covariance == Covariance::tied ? largest_column(P, D) : 0;
    runtime::parallel(K, threads, interrupt, [&](std::int64_t k, int, runtime::Region&) {
        std::vector<double> mean(static_cast<std::size_t>(D)),
            whitened(static_cast<std::size_t>(D));
        packed.offset[k] = static_cast<T>(parameters.offset[k]);
        double norm = 0;
        for (std::int64_t d = 0; d < D; ++d) {
            mean[d] = parameters.means[k * D + d] - static_cast<double>(packed.origin[d]);
            packed.means[k * padded + d] = static_cast<T>(mean[d]);
            norm += mean[d] * mean[d];
        }
        double distance = 0;
        if (covariance == Covariance::full || covariance == Covariance::tied) {
            const bool full = covariance == Covariance::full;
            const double* factor = full ? P + k * D * D : P;
            distance = norm * (full ? largest_column(factor, D) : tied_scale);
            times_factor(mean.data(), factor, D, whitened.data());
            if (full)
                pack_factor(factor, D, kernels.factor_columns,
                            packed.factor.data() + k * factor_stride);
            for (std::int64_t d = 0; d < D; ++d)
                if (full)
                    packed.intercept[k * D + d] = static_cast<T>(-whitened[d]);
                else
                    packed.whitened_means[k * D + d] = static_cast<T>(whitened[d]);
        } else {
            for (std::int64_t d = 0; d < D; ++d) {
                const double scale = covariance == Covariance::diag ? P[k * D + d] : P[k];
                distance = std::max(distance, mean[d] * mean[d] * scale * scale);
                if (covariance == Covariance::diag) {
                    packed.factor[2 * (k * D + d)] = as_finite<T>(scale);
                    packed.factor[2 * (k * D + d) + 1] = static_cast<T>(-mean[d] * scale);
                }
            }
            if (covariance == Covariance::spherical)
                packed.half_precision[k] = static_cast<T>(0.5 * P[k] * P[k]);
        }
        if (covariance == Covariance::spherical) packed.half_norm[k] = static_cast<T>(0.5 * norm);
        packed.near[k] = distance <= near_limit<T>;  // false for NaN
    });
}

// The means as they are, in two numbers of T where one does not hold them.
template <class T>
void pack_centres(const MixtureParameters& parameters, PackedModel<T>& packed) {
    const std::int64_t K = parameters.n_components, D = parameters.n_features;
    const std::int64_t padded = packed.model.padded_features;
    packed.centres.assign(static_cast<std::size_t>(K * padded), T(0));
    if (sizeof(T) < sizeof(double)) packed.centres_low = packed.centres;
    for (std::int64_t k = 0; k < K; ++k)
        for (std::int64_t d = 0; d < D; ++d) {
            const double mean = parameters.means[k * D + d];
            const T centre = as_finite<T>(mean);
            packed.centres[k * padded + d] = centre;
            if (!packed.centres_low.empty())
                packed.centres_low[k * padded + d] =
                    as_finite<T>(mean - static_cast<double>(centre));
        }
}

// The columns of the dense product, as pairs of extended features.
template <class T>
void list_moments(Moments moments, std::int64_t D, PackedModel<T>& packed) {
    const auto add = [&](std::int64_t i, std::int64_t j) {
        packed.left.push_back(static_cast<std::int32_t>(i));
        packed.right.push_back(static_cast<std::int32_t>(j));
    };
    if (moments == Moments::none) return;
    add(D, D);
    for (std::int64_t d = 0; d < D; ++d) add(d, D);
    if (moments == Moments::diag)
        for (std::int64_t d = 0; d < D; ++d) add(d, d);
    if (moments == Moments::spherical) add(D + 1, D);
    if (moments == Moments::full)
        for (std::int64_t i = 0; i < D; ++i)
            for (std::int64_t j = 0; j <= i; ++j) add(i, j);
}

// Which components gather their rows, and the layout of the statistics.
template <class T>
void pack_moments(const PassRequest& request, const Kernels<T>& kernels, PackedModel<T>& packed) {
    Model<T>& model = packed.model;
    const std::int64_t K = model.n_components, D = model.n_features;
    const Moments moments = request.moments;
    const bool all_gather = request.assignment != Assignment::posterior ||
                            (moments == Moments::full && D > largest_dense_full) ||
                            (moments == Moments::tied && !model.all_near);
    packed.gathered.resize(K);
    bool any_gathered = false, any_dense = false;
    for (std::int64_t k = 0; k < K; ++k) {
        packed.gathered[k] = all_gather || !packed.near[k];
        (packed.gathered[k] ? any_gathered : any_dense) = true;
    }
    list_moments(moments, D, packed);
    model.moments = moments;
    model.gathered = packed.gathered.data();
    model.n_moments = static_cast<std::int64_t>(packed.left.size());
    model.left = packed.left.data();
    model.right = packed.right.data();
    model.dense_stride =
        runtime::round_up(model.n_moments, kernels.moment_features) * kernels.moment_components;
    std::int64_t second = 0;
    if (moments == Moments::full) second = triangle_size(D);
    if (moments == Moments::diag) second = D;
    if (moments == Moments::spherical) second = 1;
    model.gathered_stride = runtime::round_up(1 + D + second, 8);

    const std::int64_t blocks = runtime::ceil_div(K, kernels.moment_components);
    const bool wanted = moments != Moments::none;
    packed.dense_size = wanted && any_dense ? runtime::round_up(blocks * model.dense_stride, 8) : 0;
    packed.gathered_size = wanted && any_gathered ? K * model.gathered_stride : 0;
    packed.pooled_size = moments == Moments::tied ? triangle_size(D) : 0;
}

template <class T>
void point_at_parameters(PackedModel<T>& packed) {
    Model<T>& model = packed.model;
    model.origin = packed.origin.data();
    model.means = packed.means.data();
    model.centres = model.all_near ? packed.means.data() : packed.centres.data();
    model.centres_low = packed.centres_low.empty() ? nullptr : packed.centres_low.data();
    model.offset = packed.offset.data();
    model.near = packed.near.data();
    model.factor = packed.factor.data();
    model.intercept = packed.intercept.data();
    model.whitened_means = packed.whitened_means.data();
    model.half_precision =
        model.covariance == Covariance::spherical ? packed.half_precision.data() : nullptr;
    model.half_norm = packed.half_norm.data();
}

}  // namespace

template <class T>
void pack(const MixtureParameters& given, const PassRequest& request, const Kernels<T>& kernels,
          PackedModel<T>& packed, int num_threads, const runtime::Interrupt* interrupt) {
    std::vector<double> scales;
    const bool as_given =
        given.covariance != Covariance::spherical || !precisions_leave_range<T>(given);
    const MixtureParameters parameters = as_given ? given : as_diagonal(given, scales);
    const std::int64_t K = parameters.n_components, D = parameters.n_features;
    const std::int64_t row = parameters.covariance == Covariance::full ? D * D : D;
    const int threads = runtime::threads_for(K * row, num_threads);

    Model<T>& model = packed.model;
    model.covariance = parameters.covariance;
    model.n_components = K;
    model.n_features = D;
    model.joint_stride =
        joint_components<T>(K, kernels.group_rows) * static_cast<std::int64_t>(kernels.group_rows);
    model.padded_features = padded_features(D);
    pack_origin(parameters, packed, threads, interrupt);
    pack_components(parameters, kernels, packed, threads, interrupt);
    model.all_near =
        std::all_of(packed.near.begin(), packed.near.end(), [](std::uint8_t near) { return near; });
    if (!model.all_near) pack_centres(parameters, packed);
    model.extreme = has_extreme(packed.means) || has_extreme(packed.factor);
    model.nearest = is_nearest_mean(parameters, request, packed.half_norm);
    point_at_parameters(packed);
    pack_moments(request, kernels, packed);
    if (request.gradient)
        pack_gradient(parameters, request.tile_rows, kernels, packed, num_threads, interrupt);
}

template void pack(const MixtureParameters&, const PassRequest&, const Kernels<float>&,
                   PackedModel<float>&, int, const runtime::Interrupt*);
template void pack(const MixtureParameters&, const PassRequest&, const Kernels<double>&,
                   PackedModel<double>&, int, const runtime::Interrupt*);

}  // namespace vbfast::estep
