// The loops over few rows, for the sanitizers: seeds are rows, centres are means of the rows that
// are closest to them, and bounds rise.
#include <cmath>
#include <random>
#include <vector>

#include "expect.h"
#include "loops/gaussian_iterations.h"
#include "loops/likelihood_step.h"
#include "loops/lloyd.h"
#include "loops/seeding.h"
#include "loops/variational_step.h"
#include "runtime/numbers.h"

namespace {

using namespace vbfast;
using linalg::Pattern;

// Rows around K points, some units apart.
template <class T>
struct Rows {
    Rows(std::int64_t N, std::int64_t K, std::int64_t D) {
        std::mt19937_64 generator(42);
        std::normal_distribution<double> normal;
        for (std::int64_t n = 0; n < N; ++n) {
            for (std::int64_t d = 0; d < D; ++d)
                values.push_back(
                    static_cast<T>(5.0 * static_cast<double>(n % K) + normal(generator)));
            weights.push_back(n % 7 == 1 ? 0.0 : 1.5);
        }
        const std::int64_t size = static_cast<std::int64_t>(sizeof(T));
        blocks.push_back({0, values.data(), D * size, size, N, weights.data(), nullptr, nullptr,
                          nullptr, nullptr, 0});
    }

    estep::PassRequest request(estep::Assignment assignment, estep::Moments moments) const {
        estep::PassRequest request{};
        request.assignment = assignment;
        request.moments = moments;
        request.bounds = {0, blocks[0].n_rows};
        request.tile_rows = 64;
        request.open_partitions = 1;
        return request;
    }

    std::vector<T> values;
    std::vector<double> weights;
    std::vector<estep::RowBlock> blocks;
    estep::Workspace workspace;
};

template <class T>
void check_k_means(std::int64_t N, std::int64_t K, std::int64_t D) {
    Rows<T> rows(N, K, D);
    const estep::PassRequest request = rows.request(estep::Assignment::hard, estep::Moments::first);
    const loops::LoopedRows looped = {rows.blocks,    request, sizeof(T) == 4,
                                      rows.workspace, 2,       nullptr};
    const std::int64_t n_trials = 3;
    std::vector<double> quantiles;
    for (std::int64_t i = 0; i < 1 + (K - 1) * n_trials; ++i)
        quantiles.push_back(std::fmod(0.37 * static_cast<double>(i + 1), 1.0));
    const loops::Seeds seeds =
        loops::choose_seeds(looped, looped, D, K, n_trials, quantiles.data());
    EXPECT(seeds.bad_row == -1);
    std::vector<double> centres;
    for (const std::int64_t row : seeds.rows) {
        EXPECT(row >= 0 && row < N && rows.weights[static_cast<std::size_t>(row)] > 0.0);
        for (std::int64_t d = 0; d < D; ++d)
            centres.push_back(rows.values[static_cast<std::size_t>(row * D + d)]);
    }
    const loops::LloydEnd end =
        loops::move_centres(looped, K, D, 1.0, 1e-12, 200, nullptr, centres.data());
    EXPECT(end.bad_row == -1 && end.rested != end.lost && end.iterations <= 200);
    if (!end.rested) return;
    std::vector<double> sums(centres.size(), 0.0), counts(static_cast<std::size_t>(K), 0.0);
    for (std::int64_t n = 0; n < N; ++n) {
        std::int64_t best = 0;
        double least = runtime::infinity;
        for (std::int64_t k = 0; k < K; ++k) {
            double distance = 0.0;
            for (std::int64_t d = 0; d < D; ++d) {
                const double way = rows.values[static_cast<std::size_t>(n * D + d)] -
                                   centres[static_cast<std::size_t>(k * D + d)];
                distance += way * way;
            }
            if (distance < least) least = distance, best = k;
        }
        const double weight = rows.weights[static_cast<std::size_t>(n)];
        counts[static_cast<std::size_t>(best)] += weight;
        for (std::int64_t d = 0; d < D; ++d)
            sums[static_cast<std::size_t>(best * D + d)] +=
                weight * rows.values[static_cast<std::size_t>(n * D + d)];
    }
    for (std::int64_t k = 0; k < K; ++k)
        for (std::int64_t d = 0; d < D; ++d) {
            const auto at = static_cast<std::size_t>(k * D + d);
            EXPECT(std::fabs(sums[at] / counts[static_cast<std::size_t>(k)] - centres[at]) < 1e-4);
        }
}

// `n` matrices, each `scale` times the identity.
std::vector<double> identities(Pattern pattern, std::int64_t n, std::int64_t D,
                               double scale = 1.0) {
    const std::int64_t size = linalg::pattern_size(pattern, D);
    std::vector<double> values(static_cast<std::size_t>(n * size), scale);
    if (linalg::has_matrices(pattern))
        for (std::size_t i = 0; i < values.size(); ++i)
            values[i] = static_cast<std::int64_t>(i) % size % (D + 1) == 0 ? scale : 0.0;
    return values;
}

template <class T>
void check_gaussians(Pattern pattern, std::int64_t N, std::int64_t K, std::int64_t D) {
    Rows<T> rows(N, K, D);
    const estep::Moments moments = pattern == Pattern::full   ? estep::Moments::full
                                   : pattern == Pattern::tied ? estep::Moments::pooled
                                   : pattern == Pattern::diag ? estep::Moments::diag
                                                              : estep::Moments::spherical;
    const estep::PassRequest request = rows.request(estep::Assignment::posterior, moments);
    const loops::LoopedRows looped = {rows.blocks,    request, sizeof(T) == 4,
                                      rows.workspace, 2,       nullptr};
    const auto n = static_cast<std::size_t>(K);
    const std::int64_t n_matrices = linalg::count_matrices(pattern, K);
    const std::vector<double> own = identities(pattern, n_matrices, D);
    std::vector<double> means;
    for (std::int64_t i = 0; i < K * D; ++i) means.push_back(5.0 * static_cast<double>(i / D) + 1);
    const std::vector<double> offset(n, -1.0);
    const auto n_degrees = static_cast<std::size_t>(n_matrices);
    const double degrees = static_cast<double>(D) + 1.0;
    for (const bool sticks : {false, true}) {
        loops::LikelihoodStep likelihood(pattern, K, D, 1e-9, 1e-15, 1e-12,
                                         {std::vector<double>(n, 1.0), means, own, own, offset});
        loops::VariationalStep variational(
            pattern, K, D,
            {sticks, 0.5, 1.0, std::vector<double>(static_cast<std::size_t>(D), 0.0), degrees,
             identities(pattern, 1, D), identities(pattern, 1, D, std::sqrt(degrees))},
            0.0, 0.0,
            {std::vector<double>(n, 1.0), std::vector<double>(n, -1.0), std::vector<double>(n, 1.0),
             means, std::vector<double>(n_degrees, degrees), own, own, offset});
        for (loops::GaussianStep* step : {static_cast<loops::GaussianStep*>(&likelihood),
                                          static_cast<loops::GaussianStep*>(&variational)}) {
            estep::TileSums sums{};
            sums.lowest_log_evidence = -runtime::infinity;
            std::vector<double> bounds;
            loops::iterate_gaussians(looped, *step, {1e-6, 1000.0, 0.01, -runtime::infinity},
                                     {90.0, 1e6, 1e3}, 20, sums, bounds);
            EXPECT(bounds.size() > 1);
            for (std::size_t i = 2; i < bounds.size(); ++i)
                EXPECT(bounds[i] - bounds[i - 1] > -1e-5 * std::fabs(bounds[i]));
        }
    }
}

}  // namespace

int main() {
    for (const std::int64_t D : {1, 2, 7}) {
        for (const std::int64_t K : {1, 3, 10}) {
            check_k_means<double>(150, K, D);
            check_k_means<float>(150, K, D);
            for (const Pattern pattern :
                 {Pattern::full, Pattern::tied, Pattern::diag, Pattern::spherical}) {
                check_gaussians<double>(pattern, 150, K, D);
                check_gaussians<float>(pattern, 150, K, D);
            }
        }
    }
    return 0;
}
