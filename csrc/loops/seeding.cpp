#include "loops/seeding.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "estep/seeding.h"
#include "runtime/numbers.h"

namespace vbfast::loops {

namespace {

// Where the cumulative mass first exceeds parts of its total. A target that only rounding puts
// beyond the end belongs to the last place of positive mass.
template <class Mass>
void draw(std::int64_t n, Mass mass, const double* quantiles, std::int64_t n_draws,
          std::vector<double>& cumulative, std::int64_t* drawn) {
    double sum = 0.0;
    for (std::int64_t i = 0; i < n; ++i) cumulative[static_cast<std::size_t>(i)] = sum += mass(i);
    const auto begin = cumulative.begin(), end = cumulative.end();
    const auto last = std::lower_bound(begin, end, sum);
    for (std::int64_t i = 0; i < n_draws; ++i)
        drawn[i] = std::min(std::upper_bound(begin, end, quantiles[i] * sum), last) - begin;
}

// The lowest of some numbers, or the first that is none.
std::int64_t lowest(const std::vector<double>& values) {
    std::size_t best = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (std::isnan(values[i])) return static_cast<std::int64_t>(i);
        if (values[i] < values[best]) best = i;
    }
    return static_cast<std::int64_t>(best);
}

template <class T>
class Choice {
  public:
    Choice(const LoopedRows& for_one, const LoopedRows& for_trials, std::int64_t n_features,
           std::int64_t n_trials)
        : for_one_(for_one),
          for_trials_(for_trials),
          block_(for_one.blocks.front()),
          D_(n_features),
          closest_(static_cast<std::size_t>(block_.n_rows), std::numeric_limits<T>::infinity()),
          lowered_(static_cast<std::size_t>(block_.n_rows * n_trials)),
          cumulative_(closest_.size()) {}

    Seeds choose(std::int64_t n_centres, std::int64_t n_trials, const double* quantiles) {
        Seeds seeds = {std::vector<std::int64_t>(static_cast<std::size_t>(n_centres)),
                       runtime::infinity, -1};
        std::vector<std::int64_t> trials(static_cast<std::size_t>(n_trials));
        const auto weight = [this](std::int64_t i) {
            return block_.weights ? block_.weights[i] : 1.0;
        };
        draw(block_.n_rows, weight, quantiles++, 1, cumulative_, seeds.rows.data());
        double potential = 0.0;
        if (n_centres > 1) {
            const std::vector<double> first = visit(for_one_, seeds.rows.data(), 1, seeds.bad_row);
            if (seeds.bad_row >= 0) return seeds;
            potential = take(0, first);
        }
        for (std::int64_t chosen = 1; chosen < n_centres; ++chosen, quantiles += n_trials) {
            if (potential > 0.0 && potential < runtime::infinity) {
                const auto mass = [&](std::int64_t i) {
                    return static_cast<double>(closest_[static_cast<std::size_t>(i)]) * weight(i);
                };
                draw(block_.n_rows, mass, quantiles, n_trials, cumulative_, trials.data());
            } else {  // every row coincides with a centre, or squared distances overflow
                const auto begin = seeds.rows.begin(), end = begin + chosen;
                const auto unused = [&](std::int64_t i) {
                    return std::find(begin, end, i) == end ? weight(i) : 0.0;
                };
                draw(block_.n_rows, unused, quantiles, n_trials, cumulative_, trials.data());
            }
            const std::vector<double> left =
                visit(for_trials_, trials.data(), n_trials, seeds.bad_row);
            if (seeds.bad_row >= 0) return seeds;
            const std::int64_t best = lowest(left);
            const std::int64_t row = trials[static_cast<std::size_t>(best)];
            seeds.rows[static_cast<std::size_t>(chosen)] = row;
            const double apart = static_cast<double>(closest_[static_cast<std::size_t>(row)]);
            if (apart > 0.0) seeds.separation = std::min(seeds.separation, apart);
            potential = take(best, left);
        }
        return seeds;
    }

  private:
    // Potentials of rows as candidates, and the distances that they lower.
    std::vector<double> visit(const LoopedRows& rows, const std::int64_t* candidates,
                              std::int64_t n, std::int64_t& bad_row) {
        std::vector<double> points(static_cast<std::size_t>(n * D_));
        for (std::int64_t l = 0; l < n; ++l) {
            const char* row =
                static_cast<const char*>(block_.rows) + candidates[l] * block_.row_stride;
            for (std::int64_t i = 0; i < D_; ++i)
                points[static_cast<std::size_t>(l * D_ + i)] =
                    *reinterpret_cast<const T*>(row + i * block_.feature_stride);
        }
        const auto pass = estep::make_seeding<T>(points.data(), n, D_, rows.request.bounds,
                                                 rows.request.tile_rows);
        estep::RowBlock block = block_;
        block.closest = closest_.data();
        block.lowered = lowered_.data();
        block.lowered_stride = block_.n_rows;
        bad_row = pass->run({block}, rows.num_threads, rows.interrupt);
        return pass->potentials();
    }

    // Makes a candidate one of the centres, and returns its potential.
    double take(std::int64_t candidate, const std::vector<double>& potentials) {
        std::copy_n(lowered_.begin() + candidate * block_.n_rows, block_.n_rows, closest_.begin());
        return potentials[static_cast<std::size_t>(candidate)];
    }

    const LoopedRows& for_one_;
    const LoopedRows& for_trials_;
    const estep::RowBlock& block_;
    const std::int64_t D_;
    std::vector<T> closest_, lowered_;
    std::vector<double> cumulative_;
};

}  // namespace

Seeds choose_seeds(const LoopedRows& for_one, const LoopedRows& for_trials, std::int64_t n_features,
                   std::int64_t n_centres, std::int64_t n_trials, const double* quantiles) {
    if (for_one.single)
        return Choice<float>(for_one, for_trials, n_features, n_trials)
            .choose(n_centres, n_trials, quantiles);
    return Choice<double>(for_one, for_trials, n_features, n_trials)
        .choose(n_centres, n_trials, quantiles);
}

}  // namespace vbfast::loops
