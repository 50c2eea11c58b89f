#include "loops/lloyd.h"

#include <algorithm>
#include <vector>

#include "estep/estep.h"
#include "linalg/ordered_sum.h"

namespace vbfast::loops {

LloydEnd move_centres(const LoopedRows& rows, std::int64_t n_centres, std::int64_t n_features,
                      double precision, double tolerance, std::int64_t max_iterations,
                      estep::NearestBounds* bounds, double* centres) {
    const std::int64_t K = n_centres, D = n_features;
    const std::vector<double> offset(static_cast<std::size_t>(K), 0.0);
    const std::vector<double> precisions(static_cast<std::size_t>(K), precision);
    std::vector<double> weight(offset.size()), first(static_cast<std::size_t>(K * D));
    const auto make = rows.single ? estep::make_estep<float> : estep::make_estep<double>;
    for (std::int64_t done = 0; done < max_iterations;) {
        const auto pass =
            make({estep::Form::spherical, K, D, offset.data(), centres, precisions.data()},
                 rows.request, rows.workspace, rows.num_threads, rows.interrupt, bounds);
        const std::int64_t bad = pass->run(rows.blocks, rows.num_threads, rows.interrupt);
        if (bad >= 0) return {done, false, false, bad};
        pass->statistics(weight.data(), first.data(), nullptr, rows.num_threads, rows.interrupt);
        if (std::find(weight.begin(), weight.end(), 0.0) != weight.end())
            return {done, false, true, -1};
        for (std::int64_t k = 0; k < K; ++k)
            for (std::int64_t at = k * D; at < (k + 1) * D; ++at) {
                double& shift = first[static_cast<std::size_t>(at)];
                const double count = weight[static_cast<std::size_t>(k)];
                shift = count > 0.0 ? shift / count : 0.0;
                centres[at] += shift;
                shift *= shift;
            }
        ++done;
        // So do shifts that are NaN, where squared distances overflow.
        if (!(linalg::sum_as_numpy(first.data(), K * D) > tolerance))
            return {done, true, false, -1};
    }
    return {max_iterations, false, false, -1};
}

}  // namespace vbfast::loops
