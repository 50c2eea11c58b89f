// Full second moments of near components from gathered rows, for a tile with a sparse posterior.
//
// In: as for gathered moments (gathered_moments-inl.h), which make them about the origin.
// Out: the dense statistics (dense_moments-inl.h), so that every tile of a pass may choose.
//
// Error: that of the dense product. Responsibilities that gathering leaves out change no sum.

// The moments of component k from the rows that it gathers, in the order of list_moments. `origin`
// is what rows are about.
template <class T>
void list_gathered(const Model<T>& model, Tile<T>& tile, std::int64_t k, const T* origin,
                   double* moments) {
    const std::int64_t D = model.n_features;
    double* second = moments + 1 + D;
    for (std::int64_t i = 0; i < 1 + D + triangle_size(D); ++i) moments[i] = 0;
    gathered_moments<T>(model, tile, gather_rows(model, tile, k), origin, moments, second);
    double* to = second;
    for (std::int64_t i = 0; i < D; ++i) {
        const double* from = second + triangle_index(i, 0);
        for (std::int64_t j = 0; j <= i; ++j) *to++ = from[j];
    }
}

// Full second moments of near components in the dense layout, for a tile with a sparse posterior:
// from gathered rows, about the origin. The components of a block are added together, so that its
// lines are visited once.
template <class T>
void sparse_moments(const Model<T>& model, Tile<T>& tile, std::int64_t first, std::int64_t last,
                    double* dense) {
    constexpr int F = Blocking::moment_features, B = Blocking::moment_components;
    static_assert(B == summed_together, "tile.block_sums has room for so many");
    const std::int64_t D = model.n_features, M = model.n_moments;
    const std::int64_t size = 1 + D + triangle_size(D);
    T* const origin = tile.group_scratch;
    for (std::int64_t d = 0; d < model.padded_features; ++d)
        origin[d] = model.all_near || d >= D ? T(0) : model.origin[d];
    for (std::int64_t k = first; k < last; k += B) {
        double* out = dense + k / B * model.dense_stride;
        for (std::int64_t i = k; i < k + B && i < last; ++i)
            if (!model.gathered[i])
                list_gathered(model, tile, i, origin, tile.block_sums + (i - k) * size);
        for (std::int64_t m = 0; m < M; m += F, out += B * F)
            for (std::int64_t i = k; i < k + B && i < last; ++i) {
                if (model.gathered[i]) continue;
                const double* from = tile.block_sums + (i - k) * size + m;
                double* to = out + (i - k) * F;
                for (std::int64_t f = 0; f < F && m + f < M; ++f) to[f] += from[f];
            }
    }
}
