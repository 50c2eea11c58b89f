// How many vectors of columns the next block of a factor has, where `left` remain and a block has
// `most`. Two and two rather than three and one, whose sums would be too few for the latency.
//
// Read by the kernels and the driver, each of which includes this in a namespace of its own.

constexpr std::int64_t block_vectors(std::int64_t left, std::int64_t most) {
    if (most == 3 && left == 4) return 2;
    return left < most ? left : most;
}
