// Gathering: which rows of a tile count for one component, and with what weight.
//
// Out: tile.gathered, row numbers in ascending order, and tile.gathered_weight, with room for all
// rows; tile.row_major, (capacity, padded_features), where these rows are then read, lanes across
// features. Nothing is rounded but the product of an entry with its scale.
//
// A sparse posterior has few such rows for most components: a vector of entries is compared at
// once, and only lanes that pass cost more.

// The rows that centres are subtracted from once more, row-major and zero-padded.
template <class T>
void load_row_major(Tile<T>& tile, const Model<T>& model) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width;
    const std::int64_t D = model.n_features, P = model.padded_features;
    for (std::int64_t g = 0; g < group_count(tile); ++g) {
        const T* x = uncentred_group(model, tile, g);
        T* rows = tile.row_major + g * G * P;
        std::int64_t d = 0;
        for (; d + W <= D; d += W)
            for (int v = 0; v < Blocking::row_vectors; ++v)
                V::transpose(x + d * G + v * W, G, rows + v * W * P + d, P);
        for (int i = 0; i < G; ++i)
            for (std::int64_t f = d; f < P; ++f) rows[i * P + f] = f < D ? x[f * G + i] : T(0);
    }
}

// Gathers the rows whose entry for component k in tile.joint is above a limit, with the entry times
// the row's scale where that is positive. Returns their number.
template <class T>
std::int64_t gather_above(Tile<T>& tile, std::int64_t joint_stride, std::int64_t k, T limit,
                          const T* scale) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width;
    std::int64_t count = 0;
    for (std::int64_t g = 0; g < group_count(tile); ++g)
        for (int v = 0; v < Blocking::row_vectors; ++v) {
            const T* e = tile.joint + g * joint_stride + k * G + v * W;
            unsigned some = V::bits(less(V::set(limit), V::load(e)));
            for (; some; some &= some - 1) {
                const int i = VBFAST_LOWEST_BIT(some);
                const std::int64_t n = g * G + v * W + i;
                const T r = e[i] * scale[n];
                if (n >= tile.n_rows || !(r > T(0))) continue;
                tile.gathered[count] = static_cast<std::int32_t>(n);
                tile.gathered_weight[count++] = r;
            }
        }
    return count;
}

// Whether so few entries of a tile's posterior count that gathered rows beat the dense product.
// Every fourth group is asked. Rows whose squares overflow have a way of their own there.
template <class T>
bool is_sparse(const Model<T>& model, const Tile<T>& tile) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>;
    if (!(model.sparse_share > 0) || tile.squares_overflow) return false;
    const V limit = V::set(least_responsibility<T>), one = V::set(T(1));
    V counted = V::zero();
    std::int64_t asked = 0;
    for (std::int64_t g = 0; g < group_count(tile); g += 4) {
        const T* e = tile.joint + g * model.joint_stride;
        for (std::int64_t i = 0; i < model.n_components * G; i += V::width)
            counted = counted + V::select(less(limit, V::load(e + i)), one, V::zero());
        asked += model.n_components * G;
    }
    T lanes[V::width];
    counted.store(lanes);
    double sum = 0;
    for (const T n : lanes) sum += static_cast<double>(n);
    return sum < model.sparse_share * static_cast<double>(asked);
}
