#include "cuda/moments.h"

namespace vbfast::cuda {

namespace {

using estep::Moments;

std::int64_t triangle(std::int64_t n) {
    return n * (n + 1) / 2;
}

// out -= half step^T + step half^T, lower triangle.
void subtract_symmetric(const std::vector<double>& half, const std::vector<double>& step,
                        double* out) {
    const std::size_t D = half.size();
    for (std::size_t i = 0; i < D; ++i)
        for (std::size_t j = 0; j <= i; ++j)
            out[i * D + j] -= half[i] * step[j] + half[j] * step[i];
}

void unpack_triangle(const double* from, std::int64_t D, double* out) {
    for (std::int64_t i = 0; i < D; ++i)
        for (std::int64_t j = 0; j <= i; ++j) out[i * D + j] = from[triangle(i) + j];
}

void mirror(double* matrix, std::int64_t D) {
    for (std::int64_t i = 0; i < D; ++i)
        for (std::int64_t j = 0; j < i; ++j) matrix[j * D + i] = matrix[i * D + j];
}

}  // namespace

PartialSums lay_out_partials(Moments moments, std::int64_t K, std::int64_t D) {
    PartialSums layout{nullptr, 0, 0, K, K + K * D};
    layout.stride = layout.second;
    if (moments == Moments::diag || moments == Moments::spherical) layout.stride += K * D;
    if (moments == Moments::full) layout.stride += K * triangle(D);
    if (moments == Moments::pooled) layout.stride += triangle(D);
    return layout;
}

// With s the way from where sums were taken, f and N: the first moments are f - N s, and the second
// ones S - f s^T - s f^T + N s s^T, see vbfast.Statistics.about.
void move_moments(Moments moments, std::int64_t K, std::int64_t D, const PartialSums& layout,
                  const double* merged, const Centres& centres, double* weight, double* first,
                  double* second) {
    const double* first_sums = merged + layout.first;
    const double* second_sums = merged + layout.second;
    const std::size_t length = static_cast<std::size_t>(D);
    std::vector<double> step(length), half(length);
    const bool pooled = moments == Moments::pooled;
    if (pooled) unpack_triangle(second_sums, D, second);
    for (std::int64_t k = 0; k < K; ++k) {
        const double N = weight[k] = merged[layout.weight + k];
        for (std::size_t d = 0; d < length; ++d) {
            const std::int64_t place = k * D + static_cast<std::int64_t>(d);
            step[d] = centres.means[place] - centres.rounded[place];
            first[place] = first_sums[place] - N * step[d];
            if (pooled && centres.origin) step[d] = centres.means[place] - centres.origin[d];
            half[d] = first[place] + 0.5 * N * step[d];
        }
        if (moments == Moments::full) {
            double* out = second + k * D * D;
            unpack_triangle(second_sums + k * triangle(D), D, out);
            subtract_symmetric(half, step, out);
            mirror(out, D);
        } else if (pooled) {
            subtract_symmetric(half, step, second);
        } else if (moments != Moments::first) {
            double sum = 0;
            for (std::size_t d = 0; d < length; ++d) {
                const std::int64_t place = k * D + static_cast<std::int64_t>(d);
                const double moved = second_sums[place] - 2 * half[d] * step[d];
                sum += moved;
                if (moments == Moments::diag) second[place] = moved;
            }
            if (moments == Moments::spherical) second[k] = sum / static_cast<double>(D);
        }
    }
    if (pooled) mirror(second, D);
}

}  // namespace vbfast::cuda
