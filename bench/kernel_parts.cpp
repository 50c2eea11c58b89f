// The parts of one tile's E-step, each timed by itself on one thread: what to look at before and
// after a kernel is changed. kernel_parts.py runs it and makes a table.
//
//     kernel_parts_LEVEL float64|float32 full|tied|diag|spherical|linear K D TILE_ROWS REPEATS
//
// It prints the seconds of loading the rows, of the log-joint, of the responsibilities and of the
// summary step: the shortest of all repeats, so that other work on the machine leaves little trace.
// The tile stays in cache, and its posteriors are dense.
#include <math.h>
#include <string.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#else
#include <cmath>
#endif

#include "estep/estep.h"
#include "estep/packing.h"
#include "estep/tile_memory.h"
#include "estep/workspace.h"
#include "kernels/estep/table.h"
#include "runtime/compiler.h"

namespace vbfast::estep {
namespace {

#include VBFAST_LANES
// The lanes first: every kernel is written over them.
#include "kernels/estep/all-inl.h"

struct Shape {
    Form form;
    Moments moments;
    std::int64_t n_components;
    std::int64_t n_features;
    std::int64_t tile_rows;
};

// Components of unit variance whose means overlap.
struct Mixture {
    std::vector<double> offset, means, factor;

    Mixture(const Shape& shape, std::mt19937_64& generator)
        : offset(shape.n_components), means(shape.n_components * shape.n_features) {
        const std::int64_t K = shape.n_components, D = shape.n_features;
        std::normal_distribution<double> normal(0, 0.7);
        for (double& mean : means) mean = normal(generator);
        const bool full = shape.form == Form::full;
        if (full || shape.form == Form::tied) {
            factor.resize((full ? K : 1) * D * D);
            for (std::size_t i = 0; i < factor.size(); ++i)
                factor[i] = i % (D * D) % (D + 1) == 0 ? 1 : 0;
        } else {
            factor.assign(shape.form == Form::spherical ? K : K * D, 1.0);
        }
    }
};

template <class T>
std::vector<T> draw(const Shape& shape, const Mixture& mixture, std::mt19937_64& generator) {
    const std::int64_t D = shape.n_features;
    std::normal_distribution<double> normal;
    std::uniform_int_distribution<std::int64_t> component(0, shape.n_components - 1);
    std::vector<T> rows;
    rows.reserve(shape.tile_rows * D);
    for (std::int64_t n = 0; n < shape.tile_rows; ++n) {
        const double* mean = mixture.means.data() + component(generator) * D;
        for (std::int64_t d = 0; d < D; ++d)
            rows.push_back(static_cast<T>(mean[d] + normal(generator)));
    }
    return rows;
}

enum Part { load, joint, responsibilities, summary, n_parts };

template <class T>
std::array<double, n_parts> shortest(const Shape& shape, int repeats) {
    std::mt19937_64 generator(0);
    const Mixture mixture(shape, generator);
    const std::vector<T> rows = draw<T>(shape, mixture, generator);
    const std::int64_t D = shape.n_features;

    PassRequest request{};
    request.assignment = Assignment::posterior;
    request.moments = shape.moments;
    request.bounds = {0, shape.tile_rows};
    request.tile_rows = shape.tile_rows;
    PackedModel<T> packed;
    pack({shape.form, shape.n_components, D, mixture.offset.data(), mixture.means.data(),
          mixture.factor.data()},
         request, level_kernels<T>, packed, 1, nullptr);
    const Model<T>& model = packed.model;

    Tile<T> tile{};
    Workspace workspace;
    const auto place = [&](char* memory) {
        return lay_out(tile, shape.tile_rows, group_rows<T>, model.joint_stride, D, !model.all_near,
                       false, memory);
    };
    place(workspace.scratch(place(nullptr)));
    tile.assignment = Assignment::posterior;
    tile.rows = reinterpret_cast<const char*>(rows.data());
    tile.row_stride = D * sizeof(T);
    tile.feature_stride = sizeof(T);
    tile.n_rows = shape.tile_rows;
    // One more each: a vector without elements may have no address.
    std::vector<double> dense(packed.dense_size + 1), gathered(packed.gathered_size + 1),
        pooled(packed.pooled_size + 1);

    std::array<double, n_parts> best;
    best.fill(std::numeric_limits<double>::infinity());
    const auto timed = [&](Part part, const auto& body) {
        const auto start = std::chrono::steady_clock::now();
        body();
        const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
        best[part] = std::min(best[part], taken.count());
    };
    for (int repeat = 0; repeat < repeats; ++repeat) {
        tile.sums = no_sums;
        timed(load,
              [&] { load_features(tile, D, model.origin, model.moments == Moments::spherical); });
        timed(joint, [&] { log_joint(model, tile, [](std::int64_t) {}); });
        timed(responsibilities, [&] {
            for (std::int64_t g = 0; g < group_count(tile); ++g)
                softmax_group<T, false>(model, tile, g);
            finish_plain_posterior(model, tile);
        });
        timed(summary, [&] {
            summary_step(model, tile, 0, shape.n_components, dense.data(), gathered.data(),
                         pooled.data());
        });
    }
    return best;
}

}  // namespace
}  // namespace vbfast::estep

int main(int argc, char** argv) {
    using namespace vbfast::estep;
    if (argc != 7) {
        std::fprintf(stderr, "%s float64|float32 FORM K D TILE_ROWS REPEATS\n", argv[0]);
        return 2;
    }
    const std::map<std::string, std::pair<Form, Moments>> forms = {
        {"full", {Form::full, Moments::full}},
        {"tied", {Form::tied, Moments::pooled}},
        {"diag", {Form::diag, Moments::diag}},
        {"spherical", {Form::spherical, Moments::spherical}},
        {"linear", {Form::linear, Moments::first}}};
    const auto [form, moments] = forms.at(argv[2]);
    const Shape shape{form, moments, std::atoll(argv[3]), std::atoll(argv[4]), std::atoll(argv[5])};
    const int repeats = std::atoi(argv[6]);
    const bool single = std::string(argv[1]) == "float32";
    for (double part : single ? shortest<float>(shape, repeats) : shortest<double>(shape, repeats))
        std::printf("%.9g\n", part);
    return 0;
}
