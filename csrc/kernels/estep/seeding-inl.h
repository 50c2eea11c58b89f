// k-means++ (Arthur and Vassilvitskii 2007): what each candidate would leave of the sum of squared
// distances to the closest centre.
//
// In: tile.rows, candidates (n_candidates, n_features), and `closest`, (n_rows,) squared distances.
// Out: potentials (n_candidates,), float64, and `lowered`; see Kernels::seeding_step in table.h.
//
// Error: candidates are rows of the data, so that a difference is taken of two numbers as they came
// and is rounded once, wherever they lie. A sum over the vectors of a group is in T, and float64
// from there on.
//
// Blocking: distance_components candidates times row_vectors, as in distance_forms-inl.h.

template <class T>
void seeding_step(Tile<T>& tile, std::int64_t n_features, const T* candidates,
                  std::int64_t n_candidates, const T* closest, T* lowered,
                  std::int64_t lowered_stride, double* potentials) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width, n = Blocking::distance_components;
    if (!load_features<T>(tile, n_features, nullptr, false)) return;
    for (std::int64_t g = 0; g < group_count(tile); ++g) {
        const T* x = tile.features + g * (n_features + 2) * G;
        const bool whole = (g + 1) * G <= tile.n_rows;
        const int inside = whole ? G : static_cast<int>(tile.n_rows - g * G);
        T lanes[G];
        const T* before = closest + g * G;
        if (!whole) {
            for (int j = 0; j < G; ++j) lanes[j] = j < inside ? before[j] : T(0);
            before = lanes;
        }
        for (std::int64_t c = 0; c < n_candidates; c += n) {
            const std::int64_t count = n_candidates - c < n ? n_candidates - c : n;
            V acc[n][Blocking::row_vectors];
            if (count == n)
                distance_block<T, n>(x, candidates + c * n_features, n_features, n_features, acc);
            else
                for (std::int64_t i = 0; i < count; ++i)
                    distance_block<T, 1>(x, candidates + (c + i) * n_features, n_features,
                                         n_features, acc + i);
            for (std::int64_t i = 0; i < count; ++i) {
                V sum = V::zero(), lowest[Blocking::row_vectors];
                for (int v = 0; v < Blocking::row_vectors; ++v) {
                    lowest[v] = min(acc[i][v], V::load(before + v * W));
                    const V w = V::load(tile.row_weight + g * G + v * W);
                    // A distance that overflowed does not count where the weight is zero.
                    sum = sum + V::select(less(V::zero(), w), w * lowest[v], V::zero());
                }
                T terms[W];
                sum.store(terms);
                for (int j = 0; j < W; ++j) potentials[c + i] += static_cast<double>(terms[j]);
                if (!lowered) continue;
                T* out = lowered + (c + i) * lowered_stride + g * G;
                if (whole) {
                    for (int v = 0; v < Blocking::row_vectors; ++v) lowest[v].store(out + v * W);
                } else {
                    T last[G];
                    for (int v = 0; v < Blocking::row_vectors; ++v) lowest[v].store(last + v * W);
                    for (int j = 0; j < inside; ++j) out[j] = last[j];
                }
            }
        }
    }
}
