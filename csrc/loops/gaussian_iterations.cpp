#include "loops/gaussian_iterations.h"

#include <algorithm>
#include <cmath>

#include "estep/estep.h"
#include "linalg/moment_shifts.h"
#include "runtime/numbers.h"

namespace vbfast::loops {

namespace {

// The moments that a pass takes for a step.
struct PassMoments {
    explicit PassMoments(const GaussianStep& step)
        : weight(static_cast<std::size_t>(step.n_components())),
          first(weight.size() * static_cast<std::size_t>(step.n_features())),
          second(
              static_cast<std::size_t>(linalg::count_matrices(step.pattern(), step.n_components()) *
                                       linalg::pattern_size(step.pattern(), step.n_features()))),
          floor(first.size()) {}

    std::vector<double> weight, first, second, floor;
};

// The change that the n-th bound was.
double change_of(const std::vector<double>& bounds, std::size_t n, double previous_bound) {
    return bounds[n - 1] - (n > 1 ? bounds[n - 2] : previous_bound);
}

bool has_settled(const std::vector<double>& bounds, const Settling& settling, double threshold) {
    const std::size_t n = bounds.size();
    const double change = std::abs(change_of(bounds, n, settling.previous_bound));
    double before = n > 1 ? change_of(bounds, n - 1, settling.previous_bound) : 0.0;
    if (!std::isfinite(before)) before = 0.0;
    const bool small = settling.previous_bound > -runtime::infinity ||
                       change < settling.small * std::abs(bounds[n - 1] - bounds[0]);
    return change < settling.tolerance ||
           (small && change <= std::abs(before) && change < threshold);
}

// Whether a component is so light that passes do better without it.
bool has_negligible(const estep::MixtureParameters& log_joint, double below) {
    return std::any_of(log_joint.offset, log_joint.offset + log_joint.n_components,
                       [below](double offset) { return offset < below; });
}

bool moments_cancel(const GaussianStep& step, const estep::MixtureParameters& log_joint,
                    PassMoments& moments, const Ordinary& ordinary) {
    const std::int64_t D = step.n_features();
    step.scatter_floor(moments.weight.data(), moments.floor.data());
    const bool tied = step.pattern() == linalg::Pattern::tied;
    const linalg::ShiftedMoments shifted = {step.n_components(),
                                            D,
                                            log_joint.offset,
                                            log_joint.means,
                                            step.pattern(),
                                            log_joint.coefficients,
                                            step.pattern(),
                                            moments.weight.data(),
                                            moments.first.data(),
                                            moments.second.data(),
                                            moments.floor.data(),
                                            tied ? 0 : D,
                                            1};
    return linalg::second_moments_cancel(shifted, ordinary.tolerated, ordinary.reach);
}

}  // namespace

IterationsEnd iterate_gaussians(const LoopedRows& rows, GaussianStep& step,
                                const Settling& settling, const Ordinary& ordinary,
                                std::int64_t most, const estep::TileSums& sums,
                                std::vector<double>& bounds) {
    PassMoments moments(step);
    IterationsEnd end = {false, false, sums};
    const auto make = rows.single ? estep::make_estep<float> : estep::make_estep<double>;
    for (std::int64_t done = 0; done < most && !end.settled; ++done) {
        const auto left = [&end] { return IterationsEnd{false, true, end.sums}; };
        const estep::MixtureParameters log_joint = step.log_joint();
        if (has_negligible(log_joint, end.sums.lowest_log_evidence - ordinary.negligible))
            return left();
        const auto pass = make(log_joint, rows.request, rows.workspace, rows.num_threads,
                               rows.interrupt, nullptr);
        if (pass->run(rows.blocks, rows.num_threads, rows.interrupt) >= 0) return left();
        const estep::TileSums found = pass->sums();
        pass->statistics(moments.weight.data(), moments.first.data(), moments.second.data(),
                         rows.num_threads, rows.interrupt);
        const bool nobody = std::all_of(moments.weight.begin(), moments.weight.end(),
                                        [](double weight) { return weight == 0.0; });
        if (nobody || !std::isfinite(found.log_evidence) ||
            moments_cancel(step, log_joint, moments, ordinary))
            return left();
        double bound = 0.0;
        if (!step.take({log_joint.means, moments.weight.data(), moments.weight.data(),
                        moments.first.data(), moments.second.data()},
                       found, &bound, rows.num_threads, rows.interrupt))
            return left();
        if (!std::isfinite(bound)) {
            step.undo();
            return left();
        }
        bounds.push_back(bound);
        end.sums = found;
        const double heavier = std::max(1.0, found.weight / settling.weight_of_tolerance);
        end.settled = has_settled(bounds, settling, settling.tolerance * heavier);
    }
    return end;
}

}  // namespace vbfast::loops
