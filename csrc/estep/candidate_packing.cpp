#include "estep/candidate_packing.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "estep/tile_memory.h"
#include "runtime/numbers.h"
#include "runtime/thread_count.h"

namespace vbfast::estep {

namespace {

#include "kernels/estep/factor_blocks-inl.h"
#include "kernels/estep/triangle-inl.h"

template <class T>
T finite(double a) {
    constexpr double largest = std::numeric_limits<T>::max();
    return static_cast<T>(std::clamp(a, -largest, largest));
}

// An upper-triangular factor in blocks of columns, see kernels/estep/pairs-inl.h.
template <class T>
void pack_columns(const double* P, std::int64_t D, std::int64_t width, std::int64_t most, T* out) {
    for (std::int64_t c = 0; c < D;) {
        const std::int64_t n = block_vectors(runtime::ceil_div(D - c, width), most);
        const std::int64_t end = std::min(D, c + n * width);
        for (std::int64_t i = 0; i < end; ++i)
            for (std::int64_t j = c; j < c + n * width; ++j)
                *out++ = j < D && j >= i ? finite<T>(P[i * D + j]) : T(0);
        c += n * width;
    }
}

std::int64_t columns_size(std::int64_t D, std::int64_t width, std::int64_t most) {
    std::int64_t size = 0;
    for (std::int64_t c = 0; c < D;) {
        const std::int64_t n = block_vectors(runtime::ceil_div(D - c, width), most);
        size += std::min(D, c + n * width) * n * width;
        c += n * width;
    }
    return size;
}

template <class T>
void pack_factors(const MixtureParameters& parameters, const Kernels<T>& kernels,
                  PackedCandidates<T>& packed, int threads, const runtime::Interrupt* interrupt) {
    const std::int64_t K = parameters.n_components, D = parameters.n_features;
    CandidateModel<T>& model = packed.model;
    const std::int64_t padded = model.padded_features, width = kernels.lanes;
    const double* P = parameters.coefficients;
    const bool lanes = parameters.form != Form::full && parameters.form != Form::tied;
    const std::int64_t most = kernels.product_columns / width;
    const std::int64_t size = lanes ? padded : columns_size(D, width, most);
    const std::int64_t n_factors = parameters.form == Form::tied ? 1 : K;
    model.factor_stride = parameters.form == Form::tied ? 0 : size;
    packed.factor.assign(static_cast<std::size_t>(n_factors * size), T(0));
    runtime::parallel(n_factors, threads, interrupt, [&](std::int64_t k, int, runtime::Region&) {
        T* out = packed.factor.data() + k * size;
        if (!lanes) return pack_columns(P + k * D * D, D, width, most, out);
        for (std::int64_t d = 0; d < D; ++d)
            out[d] = finite<T>(parameters.form == Form::spherical ? P[k] : P[k * D + d]);
    });
    model.factor = packed.factor.data();
}

// Points (K, D) rounded to T and padded. Fills `low` with what rounding took, if it has room.
template <class T>
void pack_points(const double* points, std::int64_t K, std::int64_t D, std::int64_t padded,
                 std::vector<T>& rounded, std::vector<T>& low) {
    rounded.assign(static_cast<std::size_t>(K * padded), T(0));
    for (std::int64_t k = 0; k < K; ++k)
        for (std::int64_t d = 0; d < D; ++d) {
            const double point = points[k * D + d];
            const T high = finite<T>(point);
            rounded[k * padded + d] = high;
            if (!low.empty()) low[k * padded + d] = finite<T>(point - static_cast<double>(high));
        }
}

template <class T>
void pack_centres(const MixtureParameters& parameters, PackedCandidates<T>& packed) {
    CandidateModel<T>& model = packed.model;
    const auto size = static_cast<std::size_t>(model.n_components * model.padded_features);
    const bool low = sizeof(T) < sizeof(double) && parameters.form != Form::linear;
    packed.centres_low.assign(low ? size : 0, T(0));
    pack_points(parameters.means, model.n_components, model.n_features, model.padded_features,
                packed.centres, packed.centres_low);
    if (model.form == Form::diag)  // of the same shape as the scales
        for (std::size_t i = 0; i < packed.centres_low.size(); ++i)
            packed.centres_low[i] = -packed.centres_low[i] * packed.factor[i];
    model.centres = packed.centres.data();
    model.centres_low = low ? packed.centres_low.data() : nullptr;
}

template <class T>
void pack_moments(Moments kind, const double* about, PackedCandidates<T>& packed) {
    const CandidateModel<T>& model = packed.model;
    const std::int64_t K = model.n_components, D = model.n_features;
    Model<T>& moments = packed.moments;
    packed.gathered.assign(static_cast<std::size_t>(K), 1);
    moments.moments = kind;
    moments.n_components = K;
    moments.n_features = D;
    moments.padded_features = model.padded_features;
    moments.centres = model.centres;
    if (about) {
        std::vector<T> none;
        pack_points(about, K, D, model.padded_features, packed.about, none);
        moments.centres = packed.about.data();
    }
    moments.means = moments.centres;
    moments.all_near = false;  // rows and centres are as they came
    moments.gathered = packed.gathered.data();
    std::int64_t second = 0;
    if (kind == Moments::full) second = triangle_size(D);
    if (kind == Moments::diag) second = D;
    if (kind == Moments::spherical) second = 1;
    moments.gathered_stride = runtime::round_up(1 + D + second, 8);
    packed.pooled_size = kind == Moments::pooled ? triangle_size(D) : 0;
}

}  // namespace

template <class T>
void pack_candidates(const MixtureParameters& parameters, Moments moments, const double* about,
                     const Kernels<T>& kernels, PackedCandidates<T>& packed, int num_threads,
                     const runtime::Interrupt* interrupt) {
    const std::int64_t K = parameters.n_components, D = parameters.n_features;
    const std::int64_t row = parameters.form == Form::full ? D * D : D;
    const int threads = runtime::threads_for(K * row, num_threads);
    CandidateModel<T>& model = packed.model;
    model.form = parameters.form;
    if (model.form == Form::spherical) model.form = Form::diag;
    if (model.form == Form::tied) model.form = Form::full;
    model.n_components = K;
    model.n_features = D;
    model.padded_features = padded_features(D);
    packed.offset.resize(static_cast<std::size_t>(K));
    for (std::int64_t k = 0; k < K; ++k) packed.offset[k] = static_cast<T>(parameters.offset[k]);
    model.offset = packed.offset.data();
    pack_factors(parameters, kernels, packed, threads, interrupt);
    pack_centres(parameters, packed);
    pack_moments(moments, about, packed);
}

template void pack_candidates(const MixtureParameters&, Moments, const double*,
                              const Kernels<float>&, PackedCandidates<float>&, int,
                              const runtime::Interrupt*);
template void pack_candidates(const MixtureParameters&, Moments, const double*,
                              const Kernels<double>&, PackedCandidates<double>&, int,
                              const runtime::Interrupt*);

}  // namespace vbfast::estep
