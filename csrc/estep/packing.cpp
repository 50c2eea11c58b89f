#include "estep/packing.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "estep/packing_forms.h"
#include "estep/packing_gradient.h"
#include "estep/tile_memory.h"
#include "runtime/numbers.h"
#include "runtime/thread_count.h"

namespace vbfast::estep {

namespace {

#include "kernels/estep/triangle-inl.h"
#include "runtime/tuning.h"

// Squared distance of a mean from the origin, in squared standard deviations of the narrowest
// direction, up to which moments about the origin are accurate enough: they lose a relative epsilon
// times this.
template <class T>
constexpr double near_limit = sizeof(T) == 8 ? 1e6 : 1024;

// The components' worth of numbers from one group of the log-joint to the next: a quarter of a page
// more than whole pages, so that the same components of consecutive groups do not meet in one set
// of L1.
template <class T>
std::int64_t joint_components(std::int64_t n_components, int group_rows) {
    const std::int64_t page = 4096 / (group_rows * static_cast<std::int64_t>(sizeof(T)));
    if (n_components < page) return n_components;
    return n_components + ((page / 4 - n_components) % page + page) % page;
}

// Whether a pass asks for nothing but the nearest mean, and all means are so close to the origin,
// in standard deviations, that what the scores lose of |x - mean|^2 is far less than one.
template <class T>
bool is_nearest_mean(const MixtureParameters& parameters, const PassRequest& request,
                     const std::vector<T>& half_norm) {
    if (parameters.form != Form::spherical || request.entropy ||
        request.assignment != Assignment::hard || request.log_evidence || request.resp ||
        request.row_entropy || request.expected_log_joint)
        return false;
    const double precision = parameters.coefficients[0] * parameters.coefficients[0];
    for (std::int64_t k = 0; k < parameters.n_components; ++k)
        if (parameters.offset[k] != parameters.offset[0] ||
            parameters.coefficients[k] != parameters.coefficients[0] ||
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
        const double P = spherical.coefficients[k];
        if (!(P >= least && 0.5 * P * P <= largest)) return true;
    }
    return false;
}

// A spherical mixture as a diagonal one, whose kernels scale rows before they square them.
MixtureParameters as_diagonal(MixtureParameters parameters, std::vector<double>& scales) {
    const std::int64_t D = parameters.n_features;
    for (std::int64_t k = 0; k < parameters.n_components; ++k)
        scales.insert(scales.end(), static_cast<std::size_t>(D), parameters.coefficients[k]);
    parameters.form = Form::diag;
    parameters.coefficients = scales.data();
    return parameters;
}

// Whether some number has no ordinary square. Hardly any has, so that all are looked at: as
// integers of their bits, which are ordered as sizes are. Compilers make lanes of that, and none of
// comparisons that might trap.
template <class T>
bool has_extreme(const std::vector<T>& numbers) {
    using Bits = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;
    constexpr Bits sign = Bits(1) << (8 * sizeof(T) - 1);
    const auto bits_of = [](T number) {
        Bits bits;
        std::memcpy(&bits, &number, sizeof(T));
        return bits;
    };
    const Bits limit = bits_of(std::sqrt(ordinary_square<T>));
    Bits at_least = 0;
    for (const T a : numbers) at_least |= ~((bits_of(a) & ~sign) - limit);  // no borrow, no sign
    return (at_least & sign) != 0;
}

// A point amid the means of possible components: the median of each coordinate, which a stray mean
// does not move. The linear form takes rows about zero.
template <class T>
void pack_origin(const MixtureParameters& parameters, PackedModel<T>& packed, int threads,
                 const runtime::Interrupt* interrupt) {
    const std::int64_t K = parameters.n_components, D = parameters.n_features;
    packed.origin.resize(static_cast<std::size_t>(D));
    if (parameters.form == Form::linear) return;
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

// Offsets, means about the origin, parameters of the form, and which components are near.
template <class T>
void pack_components(const MixtureParameters& parameters, const Kernels<T>& kernels,
                     PackedModel<T>& packed, int threads, const runtime::Interrupt* interrupt) {
    const std::int64_t K = parameters.n_components, D = parameters.n_features;
    const std::int64_t padded = packed.model.padded_features;
    packed.offset.resize(K);
    packed.near.resize(K);
    packed.means.assign(static_cast<std::size_t>(K * padded), T(0));
    const FormPacking<T>& form = packing_of<T>(parameters.form);
    form.begin(parameters, kernels, packed);
    runtime::parallel(K, threads, interrupt, [&](std::int64_t k, int, runtime::Region&) {
        std::vector<double> mean(static_cast<std::size_t>(D));
        packed.offset[k] = static_cast<T>(parameters.offset[k]);
        for (std::int64_t d = 0; d < D; ++d) {
            mean[d] = parameters.means[k * D + d] - static_cast<double>(packed.origin[d]);
            packed.means[k * padded + d] = static_cast<T>(mean[d]);
        }
        const double distance = form.component(parameters, kernels, packed, k, mean.data());
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
    const bool few_squares = moments == Moments::diag && D >= tuning::smallest_direct_diagonal;
    model.direct = K <= (few_squares ? tuning::few_diagonal_components : tuning::few_components);
    const std::int64_t largest_dense =
        model.direct ? tuning::largest_direct_full : tuning::largest_dense_full;
    const bool all_gather = request.assignment != Assignment::posterior ||
                            (moments == Moments::full && D > largest_dense) ||
                            (moments == Moments::pooled && !model.all_near);
    packed.gathered.resize(K);
    bool any_gathered = false, any_dense = false;
    for (std::int64_t k = 0; k < K; ++k) {
        packed.gathered[k] = all_gather || !packed.near[k];
        (packed.gathered[k] ? any_gathered : any_dense) = true;
    }
    list_moments(moments, D, packed);
    model.moments = moments;
    const std::int64_t per_mille = (D - tuning::smallest_sparse) * tuning::sparse_per_mille;
    const bool may_gather = moments == Moments::full && any_dense;
    const double panel =
        model.direct ? 1
                     : 1 + static_cast<double>(tuning::panel_components) / static_cast<double>(K);
    model.sparse_share = may_gather ? panel * static_cast<double>(per_mille) / 1000 : 0;
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
    packed.pooled_size = moments == Moments::pooled ? triangle_size(D) : 0;
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
    model.half_precision = model.form == Form::spherical ? packed.half_precision.data() : nullptr;
    model.half_norm = packed.half_norm.data();
}

}  // namespace

template <class T>
void pack(const MixtureParameters& given, const PassRequest& request, const Kernels<T>& kernels,
          PackedModel<T>& packed, int num_threads, const runtime::Interrupt* interrupt) {
    std::vector<double> scales;
    const bool as_given = given.form != Form::spherical || !precisions_leave_range<T>(given);
    const MixtureParameters parameters = as_given ? given : as_diagonal(given, scales);
    const std::int64_t K = parameters.n_components, D = parameters.n_features;
    const std::int64_t row = parameters.form == Form::full ? D * D : D;
    const int threads = runtime::threads_for(K * row, num_threads);

    Model<T>& model = packed.model;
    model.form = parameters.form;
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
