// Sums over the rows of a tile, in float64.

// The weights of all rows.
template <class T>
double sum_weights(const Tile<T>& tile) {
    if (!tile.weights) return static_cast<double>(tile.n_rows);
    double sum = 0;
    for (std::int64_t n = 0; n < tile.n_rows; ++n) sum += tile.weights[n];
    return sum;
}

// Sums over rows, a lane each. With weights it is one row after the other, since a
// product with one may need float64.
template <class T>
struct RowSums {
    static constexpr int W = Lanes<T>::width;
    double lanes[W] = {};

    // Adds w a for the rows from n on. Rows beyond the last and rows of zero weight count for
    // nothing, whatever they hold.
    void add(const Tile<T>& tile, std::int64_t n, Lanes<T> a) {
        if (!tile.weights && n + W <= tile.n_rows) {
            a.add_to(lanes);
            return;
        }
        T values[W];
        a.store(values);
        for (int i = 0; i < W && n + i < tile.n_rows; ++i) {
            const double w = row_weight(tile, n + i);
            if (w != 0) lanes[i] += w * static_cast<double>(values[i]);
        }
    }
    double total() const {
        double sum = 0;
        for (const double a : lanes) sum += a;
        return sum;
    }
};
