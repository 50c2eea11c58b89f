#include "estep/packing.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/thread_count.h"

namespace vbfast::estep {

namespace {

// Squared distance from the shift, in squared standard deviations of the narrowest direction, up to
// which moments about the shift are accurate enough: they lose a relative epsilon times this.
template <class T>
constexpr double near_limit = sizeof(T) == 8 ? 1e6 : 1024;

// From this many features on, lists of rows beat the dense product for full second moments.
constexpr std::int64_t largest_dense_full = 24;

// From this many on, lists of rows may beat the mixed precisions for the gradient in the rows.
constexpr std::int64_t smallest_listed_gradient = 25;

// From this many on, whitened rows are kept for it if those of a tile take at most so many bytes:
// to write and read them costs less than to whiten a row again, also where they leave L2.
constexpr std::int64_t smallest_kept = 128;
constexpr std::int64_t largest_kept_bytes = 4 << 20;

std::int64_t round_up(std::int64_t n, std::int64_t multiple) {
    return (n + multiple - 1) / multiple * multiple;
}

// Components' worth of numbers from one group of the log-joint to the next: a quarter of a page
// more than whole pages, so that the same components of consecutive groups do not meet in one set
// of L1.
template <class T>
std::int64_t joint_components(std::int64_t n_components, int group_rows) {
    const std::int64_t page = 4096 / (group_rows * static_cast<std::int64_t>(sizeof(T)));
    if (n_components < page) return n_components;
    return n_components + ((page / 4 - n_components) % page + page) % page;
}

// The nearest finite number: infinity times a difference of zero would be no number.
template <class T>
T as_finite(double value) {
    constexpr double largest = std::numeric_limits<T>::max();
    return static_cast<T>(std::clamp(value, -largest, largest));
}

// Column blocks of an upper-triangular factor, the first block holding the remainder.
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

double largest_column(const double* P, std::int64_t D) {
    std::vector<double> squares(static_cast<std::size_t>(D), 0.0);
    for (std::int64_t i = 0; i < D; ++i)
        for (std::int64_t j = i; j < D; ++j) squares[j] += P[i * D + j] * P[i * D + j];
    return *std::max_element(squares.begin(), squares.end());
}

// Whether a pass asks for nothing but the nearest mean, and all means are so close to the shift, in
// standard deviations, that what the scores lose of |x - mean|^2 is far less than one.
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

// Where entry e of n_entries in a run has its number for component k, see
// kernels/estep/mixed_gradient-inl.h.
std::int64_t run_index(std::int64_t n_components, std::int64_t n_entries, int columns,
                       std::int64_t k, std::int64_t e) {
    const std::int64_t start = e / columns * columns;
    const std::int64_t width = std::min<std::int64_t>(columns, n_entries - start);
    return start * n_components + k * width + e - start;
}

// The matrix P P^T, in a task of a region.
std::vector<double> precision_of(const double* P, std::int64_t D, runtime::Region& region,
                                 int worker) {
    std::vector<double> columns_of_P(static_cast<std::size_t>(D * D)),
        precision(static_cast<std::size_t>(D * D), 0.0);
    for (std::int64_t i = 0; i < D; ++i)
        for (std::int64_t l = i; l < D; ++l) columns_of_P[l * D + i] = P[i * D + l];
    for (std::int64_t i = 0; i < D; ++i) {
        if (i % 16 == 15 && runtime::stop_requested(region, worker)) throw runtime::Interrupted();
        double* row = precision.data() + i * D;
        for (std::int64_t l = i; l < D; ++l)
            for (std::int64_t j = 0; j <= i; ++j) row[j] += P[i * D + l] * columns_of_P[l * D + j];
        for (std::int64_t j = 0; j < i; ++j) precision[j * D + i] = row[j];
    }
    return precision;
}

// Its lower triangle as the run of component k, diagonal halved.
template <class T>
void pack_triangle(const double* precision, std::int64_t D, std::int64_t n_components, int columns,
                   std::int64_t k, T* run) {
    const std::int64_t numbers = D * (D + 1) / 2;
    std::int64_t e = 0;
    for (std::int64_t i = 0; i < D; ++i)
        for (std::int64_t j = 0; j <= i; ++j, ++e)
            run[run_index(n_components, numbers, columns, k, e)] =
                static_cast<T>((i == j ? 0.5 : 1.0) * precision[i * D + j]);
}

// Calls put(i, j) for the entries of a listed matrix in their order, see
// kernels/estep/gathered_gradient-inl.h.
template <class T, class Put>
void visit_listed(std::int64_t D, const Kernels<T>& kernels, bool triangular, Put put) {
    const std::int64_t padded = round_up(D, kernels.lanes);
    for (std::int64_t c = 0; c < padded; c += kernels.product_columns) {
        const std::int64_t end = std::min<std::int64_t>(padded, c + kernels.product_columns);
        for (std::int64_t i = triangular ? c : 0; i < D; ++i)
            for (std::int64_t j = c; j < end; ++j) put(i, j);
    }
}

// P^T of an upper-triangular P, or else the symmetric precision, as a listed matrix.
template <class T>
void pack_listed(const double* matrix, std::int64_t D, const Kernels<T>& kernels, bool triangular,
                 T* out) {
    visit_listed(D, kernels, triangular, [&](std::int64_t i, std::int64_t j) {
        *out++ = static_cast<T>(j < (triangular ? i + 1 : D) ? matrix[j * D + i] : 0.0);
    });
}

// Coefficients of the gradient in the rows, in the layout of kernels/estep/mixed_gradient-inl.h.
template <class T>
void pack_gradient(const MixtureParameters& parameters, const Kernels<T>& kernels,
                   PackedModel<T>& packed, int num_threads, const runtime::Interrupt* interrupt) {
    const int columns = kernels.factor_columns;
    const std::int64_t K = parameters.n_components, D = parameters.n_features;
    const Covariance covariance = parameters.covariance;
    const double* P = parameters.precision_cholesky;
    const bool kept = packed.model.keeps_whitened;
    // A precision is the product of its factor with itself.
    const std::int64_t row = covariance == Covariance::full ? (kept ? D : D * D) * D : D;
    num_threads = runtime::threads_for(K * row, num_threads);
    if (covariance == Covariance::full && D >= smallest_listed_gradient) {
        std::int64_t stride = 0;
        visit_listed(D, kernels, kept, [&](std::int64_t, std::int64_t) { ++stride; });
        packed.listed_matrices.resize(static_cast<std::size_t>(K * stride));
        packed.model.listed_matrices = packed.listed_matrices.data();
        packed.model.listed_matrix_stride = stride;
        if (kept) {
            runtime::parallel(K, num_threads, interrupt,
                              [&](std::int64_t k, int, runtime::Region&) {
                                  pack_listed(P + k * D * D, D, kernels, true,
                                              packed.listed_matrices.data() + k * stride);
                              });
            return;
        }
    }
    std::int64_t numbers = 1;  // of a precision, but for tied
    if (covariance == Covariance::full) numbers = D * (D + 1) / 2;
    if (covariance == Covariance::diag) numbers = D;
    packed.precision_means.resize(static_cast<std::size_t>(K * D));
    packed.precisions.assign(static_cast<std::size_t>(K * numbers), T(1));
    if (covariance == Covariance::tied) {
        std::vector<double> precision;
        runtime::parallel(1, 1, interrupt, [&](std::int64_t, int worker, runtime::Region& region) {
            precision = precision_of(P, D, region, worker);
        });
        packed.shared_precision.resize(precision.size());
        for (std::int64_t i = 0; i < D; ++i)
            for (std::int64_t j = 0; j < D; ++j)
                packed.shared_precision[run_index(D, D, columns, i, j)] =
                    static_cast<T>(precision[i * D + j]);
    }
    runtime::parallel(
        K, num_threads, interrupt, [&](std::int64_t k, int worker, runtime::Region& region) {
            std::vector<double> mean(static_cast<std::size_t>(D));
            for (std::int64_t d = 0; d < D; ++d)
                mean[d] = parameters.means[k * D + d] - static_cast<double>(packed.shift[d]);
            if (covariance == Covariance::full) {
                const std::vector<double> precision =
                    precision_of(P + k * D * D, D, region, worker);
                pack_triangle(precision.data(), D, K, columns, k, packed.precisions.data());
                if (packed.model.listed_matrices)
                    pack_listed(
                        precision.data(), D, kernels, false,
                        packed.listed_matrices.data() + k * packed.model.listed_matrix_stride);
                const std::vector<double> centred = mean;
                for (std::int64_t i = 0; i < D; ++i) {
                    mean[i] = 0;
                    for (std::int64_t j = 0; j < D; ++j)
                        mean[i] += precision[i * D + j] * centred[j];
                }
            } else if (covariance == Covariance::diag) {
                for (std::int64_t d = 0; d < D; ++d) {
                    const double precision = P[k * D + d] * P[k * D + d];
                    packed.precisions[run_index(K, D, columns, k, d)] = static_cast<T>(precision);
                    mean[d] *= precision;
                }
            } else if (covariance == Covariance::spherical) {
                packed.precisions[k] = static_cast<T>(P[k] * P[k]);
                for (double& m : mean) m *= P[k] * P[k];
            }
            for (std::int64_t d = 0; d < D; ++d)
                packed.precision_means[run_index(K, D, columns, k, d)] = static_cast<T>(mean[d]);
        });
}

template <class T>
void add_moments(Moments kind, std::int64_t D, PackedModel<T>& packed) {
    const auto add = [&](std::int64_t i, std::int64_t j) {
        packed.left.push_back(static_cast<std::int32_t>(i));
        packed.right.push_back(static_cast<std::int32_t>(j));
    };
    if (kind == Moments::none) return;
    add(D, D);
    for (std::int64_t d = 0; d < D; ++d) add(d, D);
    if (kind == Moments::diag)
        for (std::int64_t d = 0; d < D; ++d) add(d, d);
    if (kind == Moments::spherical) add(D + 1, D);
    if (kind == Moments::full)
        for (std::int64_t i = 0; i < D; ++i)
            for (std::int64_t j = 0; j <= i; ++j) add(i, j);
}

// A point amid the given points: the median of each coordinate, which a stray point does not move.
std::vector<double> coordinate_medians(const double* points, std::int64_t n_points,
                                       std::int64_t n_features, const std::vector<bool>& used,
                                       int num_threads, const runtime::Interrupt* interrupt) {
    std::vector<double> result(static_cast<std::size_t>(n_features), 0.0);
    runtime::parallel(
        n_features, num_threads, interrupt, [&](std::int64_t d, int, runtime::Region&) {
            std::vector<double> column;
            column.reserve(static_cast<std::size_t>(n_points));
            for (std::int64_t k = 0; k < n_points; ++k)
                if (used[static_cast<std::size_t>(k)]) column.push_back(points[k * n_features + d]);
            if (column.empty()) return;
            const auto middle = column.begin() + static_cast<std::ptrdiff_t>(column.size() / 2);
            std::nth_element(column.begin(), middle, column.end());
            result[static_cast<std::size_t>(d)] = *middle;
        });
    return result;
}

// The means as they are, in two numbers of T where one does not hold them.
template <class T>
void pack_centres(const MixtureParameters& parameters, std::int64_t padded,
                  PackedModel<T>& packed) {
    const std::int64_t K = parameters.n_components, D = parameters.n_features;
    packed.centres.assign(static_cast<std::size_t>(K * padded), T(0));
    if (sizeof(T) < sizeof(double)) packed.remainder = packed.centres;
    for (std::int64_t k = 0; k < K; ++k)
        for (std::int64_t d = 0; d < D; ++d) {
            const double mean = parameters.means[k * D + d];
            const T centre = as_finite<T>(mean);
            packed.centres[k * padded + d] = centre;
            if (!packed.remainder.empty())
                packed.remainder[k * padded + d] = as_finite<T>(mean - static_cast<double>(centre));
        }
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

// Whether some number has no ordinary square.
template <class T>
bool has_extreme(const std::vector<T>& numbers) {
    const T limit = std::sqrt(ordinary_square<T>);
    return !std::all_of(numbers.begin(), numbers.end(),
                        [limit](T a) { return std::fabs(a) < limit; });
}

// As a diagonal model, whose kernels scale rows before they square them.
MixtureParameters as_diagonal(MixtureParameters parameters, std::vector<double>& scales) {
    const std::int64_t D = parameters.n_features;
    for (std::int64_t k = 0; k < parameters.n_components; ++k)
        scales.insert(scales.end(), static_cast<std::size_t>(D), parameters.precision_cholesky[k]);
    parameters.covariance = Covariance::diag;
    parameters.precision_cholesky = scales.data();
    return parameters;
}

}  // namespace

std::int64_t triangle_size(std::int64_t n_features) {
    const std::int64_t blocks = (n_features + 7) / 8;
    return 32 * blocks * (blocks + 1);
}

template <class T>
void pack(const MixtureParameters& given, const PassRequest& request, const Kernels<T>& kernels,
          PackedModel<T>& packed, int num_threads, const runtime::Interrupt* interrupt) {
    std::vector<double> scales;
    const bool as_given =
        given.covariance != Covariance::spherical || !precisions_leave_range<T>(given);
    const MixtureParameters parameters = as_given ? given : as_diagonal(given, scales);
    const std::int64_t K = parameters.n_components, D = parameters.n_features;
    const std::int64_t padded = round_up(D, 16);
    const Covariance covariance = parameters.covariance;
    const double* P = parameters.precision_cholesky;
    const std::int64_t row = covariance == Covariance::full ? D * D : D;  // of the precisions
    const int threads = runtime::threads_for(K * row, num_threads);
    const std::size_t KD = static_cast<std::size_t>(K * D);

    std::vector<bool> used(static_cast<std::size_t>(K));
    for (std::int64_t k = 0; k < K; ++k) used[k] = std::isfinite(parameters.offset[k]);
    const std::vector<double> medians =
        coordinate_medians(parameters.means, K, D, used, threads, interrupt);
    for (const double median : medians) packed.shift.push_back(as_finite<T>(median));

    packed.offset.resize(K);
    packed.near.resize(K);
    packed.means.assign(static_cast<std::size_t>(K * padded), T(0));
    if (covariance == Covariance::full) packed.intercept.resize(KD);
    if (covariance == Covariance::tied) packed.whitened_means.resize(KD);
    if (covariance == Covariance::spherical) {
        packed.half_precision.resize(K);
        packed.half_norm.resize(K);
    }
    const std::int64_t triangle = D * (D + 1) / 2;
    std::int64_t factor_stride = 0;
    if (covariance == Covariance::full) factor_stride = triangle;
    if (covariance == Covariance::diag) factor_stride = 2 * D;
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
            mean[d] = parameters.means[k * D + d] - static_cast<double>(packed.shift[d]);
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
    const bool all_near =
        std::all_of(packed.near.begin(), packed.near.end(), [](std::uint8_t near) { return near; });
    if (!all_near) pack_centres(parameters, padded, packed);

    const bool lists = request.assignment != Assignment::posterior ||
                       (request.moments == Moments::full && D > largest_dense_full) ||
                       (request.moments == Moments::tied && !all_near);
    packed.listed.resize(K);
    bool any_listed = false, any_dense = false;
    for (std::int64_t k = 0; k < K; ++k) {
        packed.listed[k] = lists || !packed.near[k];
        (packed.listed[k] ? any_listed : any_dense) = true;
    }
    add_moments(request.moments, D, packed);

    Model<T>& model = packed.model;
    model.covariance = covariance;
    model.moments = request.moments;
    model.n_components = K;
    model.n_features = D;
    model.joint_stride =
        joint_components<T>(K, kernels.group_rows) * static_cast<std::int64_t>(kernels.group_rows);
    model.padded_features = padded;
    model.shift = packed.shift.data();
    model.means = packed.means.data();
    model.all_near = all_near;
    model.extreme = has_extreme(packed.means) || has_extreme(packed.factor);
    model.centres = all_near ? packed.means.data() : packed.centres.data();
    model.remainder = packed.remainder.empty() ? nullptr : packed.remainder.data();
    model.offset = packed.offset.data();
    model.near = packed.near.data();
    model.factor = packed.factor.data();
    model.factor_stride = factor_stride;
    model.intercept = packed.intercept.data();
    model.whitened_means = packed.whitened_means.data();
    model.half_precision =
        covariance == Covariance::spherical ? packed.half_precision.data() : nullptr;
    model.half_norm = packed.half_norm.data();
    model.listed_matrices = nullptr;
    model.keeps_whitened =
        request.gradient && covariance == Covariance::full && D >= smallest_kept &&
        request.tile_rows * K * D * static_cast<std::int64_t>(sizeof(T)) <= largest_kept_bytes;
    if (request.gradient) pack_gradient(parameters, kernels, packed, num_threads, interrupt);
    model.precision_means = packed.precision_means.data();
    model.precisions = packed.precisions.data();
    model.shared_precision = packed.shared_precision.data();
    model.nearest = is_nearest_mean(parameters, request, packed.half_norm);
    model.listed = packed.listed.data();
    model.n_moments = static_cast<std::int64_t>(packed.left.size());
    model.left = packed.left.data();
    model.right = packed.right.data();
    model.dense_stride =
        round_up(model.n_moments, kernels.moment_features) * kernels.moment_components;
    std::int64_t second = 0;
    if (request.moments == Moments::full) second = triangle_size(D);
    if (request.moments == Moments::diag) second = D;
    if (request.moments == Moments::spherical) second = 1;
    model.listed_stride = round_up(1 + D + second, 8);

    const std::int64_t blocks = round_up(K, kernels.moment_components) / kernels.moment_components;
    const bool wanted = request.moments != Moments::none;
    packed.dense_size = wanted && any_dense ? round_up(blocks * model.dense_stride, 8) : 0;
    packed.listed_size = wanted && any_listed ? K * model.listed_stride : 0;
    packed.pooled_size = request.moments == Moments::tied ? triangle_size(D) : 0;
}

template void pack(const MixtureParameters&, const PassRequest&, const Kernels<float>&,
                   PackedModel<float>&, int, const runtime::Interrupt*);
template void pack(const MixtureParameters&, const PassRequest&, const Kernels<double>&,
                   PackedModel<double>&, int, const runtime::Interrupt*);

}  // namespace vbfast::estep
