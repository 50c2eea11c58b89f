#include "estep/centre_blocks.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "runtime/numbers.h"
#include "runtime/thread_count.h"
#include "tuning.h"

namespace vbfast::estep {

namespace {

constexpr double infinity = runtime::infinity;
constexpr std::int64_t C = tuning::block_centres;

float as_upper(double a) {
    return static_cast<float>(a) * (1.0f + 0x1p-22f);
}

// Splits centres in two along the feature in which they vary most, down to whole blocks.
void order_centres(const double* means, std::int64_t D, std::int32_t* first, std::int32_t* last) {
    const std::int64_t n_blocks = runtime::ceil_div(last - first, C);
    if (n_blocks < 2) return;
    std::int64_t widest = 0;
    double largest = -1;
    for (std::int64_t d = 0; d < D; ++d) {
        double mean = 0, square = 0;
        for (const std::int32_t* k = first; k < last; ++k) mean += means[*k * D + d];
        mean /= static_cast<double>(last - first);
        for (const std::int32_t* k = first; k < last; ++k)
            square += (means[*k * D + d] - mean) * (means[*k * D + d] - mean);
        if (square > largest) largest = square, widest = d;
    }
    std::int32_t* middle = first + n_blocks / 2 * C;
    std::nth_element(first, middle, last, [=](std::int32_t a, std::int32_t b) {
        return means[a * D + widest] < means[b * D + widest];
    });
    order_centres(means, D, first, middle);
    order_centres(means, D, middle, last);
}

// Which centre stands in each lane of the blocks and the coarse blocks, or -1.
std::vector<std::int32_t> lay_out_blocks(const std::vector<std::int32_t>& order,
                                         std::int64_t n_blocks, std::int64_t n_coarse) {
    const std::int64_t K = static_cast<std::int64_t>(order.size());
    std::vector<std::int32_t> lanes(static_cast<std::size_t>((n_blocks + n_coarse) * C), -1);
    std::copy(order.begin(), order.end(), lanes.begin());
    for (std::int64_t b = 0; b < n_blocks; ++b)
        lanes[n_blocks * C + b] = order[(b * C + std::min(K, (b + 1) * C)) / 2];
    return lanes;
}

// Spreads rows of stride `stride` over blocks of (D, C).
template <class T>
std::vector<T> in_blocks(const std::vector<T>& rows, std::int64_t stride, std::int64_t D,
                         const std::vector<std::int32_t>& lanes) {
    if (rows.empty()) return {};
    std::vector<T> out(lanes.size() * static_cast<std::size_t>(D), T(0));
    for (std::size_t i = 0; i < lanes.size(); ++i)
        for (std::int64_t d = 0; lanes[i] >= 0 && d < D; ++d)
            out[(i / C * D + d) * C + i % C] = rows[lanes[i] * stride + d];
    return out;
}

// One number a centre, and one that stands for none.
template <class T>
std::vector<T> in_lanes(const std::vector<T>& numbers, T none,
                        const std::vector<std::int32_t>& lanes) {
    std::vector<T> out(lanes.size(), none);
    for (std::size_t i = 0; i < lanes.size() && !numbers.empty(); ++i)
        if (lanes[i] >= 0) out[i] = numbers[lanes[i]];
    return out;
}

// Divides the blocks among groups, and measures the ways that centres have gone.
template <class T>
void measure_shifts(const double* means, std::int64_t D, const NearestBounds& bounds,
                    PackedBlocks<T>& out) {
    CentreBlocks<T>& blocks = out.blocks;
    // Groups of fewer blocks take longer for their bounds than for their distances.
    blocks.n_groups = std::clamp<std::int64_t>(blocks.n_blocks / 4, 1, tuning::most_groups);
    for (std::int64_t g = 0; g <= blocks.n_groups; ++g)
        blocks.group[g] = blocks.n_blocks * g / blocks.n_groups;
    std::fill(blocks.group_shift, blocks.group_shift + tuning::most_groups, 0.0f);
    out.shift.assign(out.block.size(), 0.0f);
    if (!bounds.bounded) return;
    for (std::size_t k = 0; k < out.block.size(); ++k) {
        double square = 0;
        for (std::size_t i = k * D; i < (k + 1) * D; ++i)
            square += (means[i] - bounds.centres[i]) * (means[i] - bounds.centres[i]);
        out.shift[k] = as_upper(bounds.scale * std::sqrt(square));
        std::int64_t g = 0;
        while (blocks.group[g + 1] <= out.block[k]) ++g;
        blocks.group_shift[g] = std::max(blocks.group_shift[g], out.shift[k]);
    }
}

// Fills what rounding may do, and tells whether squares of distances stay in the range of T.
template <class T>
bool set_limits(const MixtureParameters& parameters, const PackedModel<T>& packed,
                const NearestBounds& bounds, CentreBlocks<T>& blocks) {
    const std::int64_t K = parameters.n_components, D = parameters.n_features;
    constexpr double unit = std::numeric_limits<T>::epsilon() / 2;
    double largest = 0, as_they_are = 0;  // squared norms
    for (std::int64_t k = 0; k < K; ++k) {
        double about_origin = 0, about_zero = 0;
        for (std::int64_t d = 0; d < D; ++d) {
            const double m = parameters.means[k * D + d];
            const double way = m - static_cast<double>(packed.origin[d]);
            about_origin += way * way;
            about_zero += m * m;
        }
        if (!(about_zero < infinity)) return false;
        largest = std::max(largest, about_origin);
        as_they_are = std::max(as_they_are, about_zero);
    }
    // The last term is what two numbers of T leave out of a centre far from zero.
    const double norm = std::sqrt(largest) + 2 * unit * std::sqrt(as_they_are);
    const double precision = static_cast<double>(packed.half_precision[0]);
    constexpr double most = sizeof(T) == 8 ? 1e290 : 1e34;
    // Of a score or a dot product, a squared norm and a difference, each with two roundings a
    // feature; twice that.
    blocks.slack = static_cast<double>(4 * D + 32) * unit;
    blocks.reach = 2 * norm * (1 + 1e-6);
    blocks.scale = bounds.scale;
    blocks.certain_slack = as_upper(3.01 * blocks.slack);
    blocks.certain_reach = as_upper(blocks.scale * blocks.reach);
    const double high = std::max(precision, 1.0), low = std::min(precision, 1.0);
    blocks.farthest =
        static_cast<float>(std::min(1e30, blocks.scale * (std::sqrt(most / high) - blocks.reach)));
    return blocks.slack < 0.01 && high * norm * norm < most &&
           low * norm * norm * blocks.slack > 1 / most && blocks.farthest > 0;
}

}  // namespace

template <class T>
bool pack_blocks(const MixtureParameters& parameters, const PackedModel<T>& packed,
                 const Kernels<T>& kernels, NearestBounds& bounds, PackedBlocks<T>& out,
                 int num_threads, const runtime::Interrupt* interrupt) {
    const std::int64_t K = parameters.n_components, D = parameters.n_features;
    const Model<T>& model = packed.model;
    CentreBlocks<T>& blocks = out.blocks;
    if (bounds.order.size() != static_cast<std::size_t>(K)) {
        double largest = 0;
        for (const T m : packed.means) {
            if (!std::isfinite(m)) return false;  // they could not be put in an order
            largest = std::max(largest, std::fabs(double(m)));
        }
        if (!(largest > 0)) return false;
        bounds.scale = std::ldexp(1.0, -std::ilogb(largest));
        bounds.order.resize(static_cast<std::size_t>(K));
        std::iota(bounds.order.begin(), bounds.order.end(), 0);
        order_centres(parameters.means, D, bounds.order.data(), bounds.order.data() + K);
        bounds.labelled = bounds.bounded = false;
    }
    if (!set_limits(parameters, packed, bounds, blocks)) return false;
    blocks.n_blocks = runtime::ceil_div(K, C);
    blocks.n_coarse = runtime::ceil_div(blocks.n_blocks, C);
    const auto lanes = lay_out_blocks(bounds.order, blocks.n_blocks, blocks.n_coarse);
    const std::int64_t padded = model.padded_features;
    std::vector<T> numbers(static_cast<std::size_t>(K)), near(static_cast<std::size_t>(K));
    std::iota(numbers.begin(), numbers.end(), T(0));
    kernels.mark_near(model, near.data());
    out.means = in_blocks(packed.means, padded, D, lanes);
    if (!model.all_near) out.centres = in_blocks(packed.centres, padded, D, lanes);
    if (!model.all_near) out.centres_low = in_blocks(packed.centres_low, padded, D, lanes);
    out.half_norm = in_lanes(packed.half_norm, static_cast<T>(infinity), lanes);
    out.offset = in_lanes(std::vector<T>(K, T(0)), static_cast<T>(-infinity), lanes);
    out.name = in_lanes(numbers, static_cast<T>(K), lanes);
    out.near = in_lanes(near, T(1), lanes);
    out.block.resize(static_cast<std::size_t>(K));
    for (std::int64_t i = 0; i < K; ++i)
        out.block[bounds.order[i]] = static_cast<std::int32_t>(i / C);
    measure_shifts(parameters.means, D, bounds, out);

    blocks.means = out.means.data();
    blocks.centres = out.centres.data();
    blocks.centres_low = out.centres_low.data();
    blocks.half_norm = out.half_norm.data();
    blocks.offset = out.offset.data();
    blocks.name = out.name.data();
    blocks.near = out.near.data();
    blocks.block = out.block.data();
    blocks.shift = out.shift.data();
    out.nearest_low.assign(static_cast<std::size_t>(K), 0.0f);
    out.nearest_high.assign(static_cast<std::size_t>(K), 0.0f);
    blocks.nearest_low = out.nearest_low.data();
    blocks.nearest_high = out.nearest_high.data();
    // They cost as much as K / 2 rows do: not worth while for few rows that met most centres.
    if (bounds.met > 0.5 && bounds.n_rows() < 512 * K) return true;
    // They take K / 4 bytes a centre, of which there are far fewer than rows.
    if (K * blocks.n_blocks > 2 * bounds.n_rows()) return true;
    out.gap.resize(static_cast<std::size_t>(K * blocks.n_blocks));
    runtime::parallel(runtime::ceil_div(K, C), runtime::threads_for(K * K * D, num_threads),
                      interrupt, [&](std::int64_t task, int, runtime::Region&) {
                          for (std::int64_t k = task * C; k < std::min(K, (task + 1) * C); ++k)
                              kernels.gaps_of_centre(
                                  model, blocks, k, out.gap.data() + k * blocks.n_blocks,
                                  out.nearest_low.data() + k, out.nearest_high.data() + k);
                      });
    blocks.gap = out.gap.data();
    return true;
}

template bool pack_blocks(const MixtureParameters&, const PackedModel<float>&,
                          const Kernels<float>&, NearestBounds&, PackedBlocks<float>&, int,
                          const runtime::Interrupt*);
template bool pack_blocks(const MixtureParameters&, const PackedModel<double>&,
                          const Kernels<double>&, NearestBounds&, PackedBlocks<double>&, int,
                          const runtime::Interrupt*);

}  // namespace vbfast::estep
