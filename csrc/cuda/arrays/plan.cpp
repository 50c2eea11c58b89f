#include "cuda/arrays/launches.h"

namespace vbfast::cuda::arrays {

namespace {

std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
    return (a + b - 1) / b;
}

// The least power of two that is no less than n, or 32.
int power_of_two(std::int64_t n) {
    int power = 1;
    while (power < n && power < 32) power *= 2;
    return power;
}

}  // namespace

int count_of_state(Reduction reduction) {
    switch (reduction) {
        case Reduction::sum_exp:
            return 1 + 2;
        case Reduction::scaled_sum_exp:
        case Reduction::logits_entropy:
        case Reduction::probs_entropy:
            return 1 + 3;
        default:
            return 2 + 5;
    }
}

Grid plan_grid(DeviceCall& call, int size, bool side_by_side) {
    const std::int64_t n = call.n_elements, slices = call.n_slices;
    const int few = few_bytes / size, many = many_bytes / size;
    Grid grid{};
    call.columns = 1;
    call.n_ranges = 1;
    call.range = n;
    const int most_lanes = side_by_side ? 1 : 32;
    if (n <= most_lanes * many) {
        grid.by_lanes = true;
        grid.many = n > most_lanes * few;
        grid.group = side_by_side ? 1 : grid.many ? 32 : power_of_two(ceil_div(n, few));
        grid.n_blocks = grid.n_finishing = ceil_div(slices, lane_threads / grid.group);
        return grid;
    }
    if (side_by_side) call.columns = power_of_two(call.outer[call.n_outer - 1]);
    call.range =
        std::int64_t{chunks_of_range} * (block_threads / call.columns) * block_bytes / size;
    call.n_ranges = ceil_div(n, call.range);
    grid.n_blocks = ceil_div(slices, call.columns) * call.n_ranges;
    grid.n_finishing = call.n_ranges == 1 ? grid.n_blocks : ceil_div(slices, block_threads / 32);
    return grid;
}

}  // namespace vbfast::cuda::arrays
