// k-means++ (Arthur and Vassilvitskii 2007): what each candidate would leave of the sum of squared
// distances to the closest centre.

template <class T>
void seeding_step(Tile<T>& tile, std::int64_t n_features, const T* shift, const T* candidates,
                  std::int64_t n_candidates, double* closest, bool update, double* potentials) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width, n = Blocking::distance_components;
    if (!load_features(tile, n_features, shift, false)) return;
    for (std::int64_t g = 0; g < group_count(tile); ++g) {
        const T* x = tile.features + g * (n_features + 2) * G;
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
                T distance[G];
                for (int v = 0; v < Blocking::row_vectors; ++v) acc[i][v].store(distance + v * W);
                double sum = 0;
                for (int j = 0; j < G && g * G + j < tile.n_rows; ++j) {
                    const std::int64_t row = g * G + j;
                    const double d = static_cast<double>(distance[j]);
                    const double lowest = d < closest[row] ? d : closest[row];
                    const double w = row_weight(tile, row);
                    if (w != 0) sum += w * lowest;
                    if (update) closest[row] = lowest;
                }
                potentials[c + i] += sum;
            }
        }
    }
}
