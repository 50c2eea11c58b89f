// Sufficient statistics of one component at a time from the list of its rows, about its own mean as
// it is rounded in model.centres.
//
// Used where the dense product does not fit: many features (its D^2 / 2 columns would be rebuilt
// for every tile, and high-dimensional posteriors are sparse, which a list exploits), components
// far from the shift, and rows that belong to one component only. The rows u = sqrt(r) (x - mu) are
// packed, lanes across features, and S += u u^T runs over the lower triangle in register blocks of
// outer_rows rows by outer_vectors vectors.
//
// Layout of a component's sums: weight, first moments (D), then the second: D numbers (diag), one
// (spherical), or (full, and shared by all components when tied) the lower triangle in block rows
// of eight, each as wide as its diagonal block reaches: block row b starts at 32 b (b + 1).

constexpr int triangle_rows = 8;

// Columns [c, c + n vectors) of outer_rows rows starting at i.
template <class T, int n>
inline void outer_block(const T* u, std::int64_t stride, std::int64_t n_rows, std::int64_t i,
                        std::int64_t c, std::int64_t width, double* out) {
    using V = Lanes<T>;
    constexpr int W = V::width, R = Blocking::outer_rows;
    V acc[R][n];
    for (int a = 0; a < R; ++a)
        for (int b = 0; b < n; ++b) acc[a][b] = V::zero();
    for (std::int64_t m = 0; m < n_rows; ++m, u += stride) {
        V right[n];
        for (int b = 0; b < n; ++b) right[b] = V::load(u + c + b * W);
        for (int a = 0; a < R; ++a) {
            const V left = V::set(u[i + a]);
            for (int b = 0; b < n; ++b) acc[a][b] = fma(left, right[b], acc[a][b]);
        }
    }
    for (int a = 0; a < R; ++a)
        for (int b = 0; b < n; ++b) {
            double* target = out + a * width + c + b * W;
            if (c + (b + 1) * W <= width) {
                acc[a][b].add_to(target);
            } else {  // wider than the block row: float32 lanes over the last columns
                T lanes[W];
                acc[a][b].store(lanes);
                for (int j = 0; c + b * W + j < width; ++j)
                    target[j] += static_cast<double>(lanes[j]);
            }
        }
}

template <class T>
void outer_products(const T* u, std::int64_t stride, std::int64_t n_rows, std::int64_t n_features,
                    double* triangle) {
    constexpr int W = Lanes<T>::width, R = Blocking::outer_rows, N = Blocking::outer_vectors;
    for (std::int64_t b = 0; b * triangle_rows < n_features; ++b) {
        const std::int64_t width = (b + 1) * triangle_rows;
        for (int r = 0; r < triangle_rows; r += R) {
            double* out = triangle + 32 * b * (b + 1) + r * width;
            const std::int64_t i = b * triangle_rows + r;
            std::int64_t c = 0;
            // Two and two rather than three and one, whose sums would be too few for the latency.
            for (; c + N * W <= width && c + (N + 1) * W != width; c += N * W)
                outer_block<T, N>(u, stride, n_rows, i, c, width, out);
            for (; c + 2 * W <= width; c += 2 * W)
                outer_block<T, 2>(u, stride, n_rows, i, c, width, out);
            for (; c < width; c += W) outer_block<T, 1>(u, stride, n_rows, i, c, width, out);
        }
    }
}

// Rows of component k with their weights r > 0; of a posterior, those that can change a sum: a
// component whose rows all have less counts as one that has lost them.
template <class T>
std::int64_t list_rows(const Model<T>& model, Tile<T>& tile, std::int64_t k) {
    constexpr T least_responsibility = T(1e-30);
    const T limit = tile.assignment == Assignment::posterior ? least_responsibility : T(0);
    if (!by_label(tile)) return list_above(tile, model.joint_stride, k, limit, tile.row_scale);
    std::int64_t count = 0;
    for (std::int64_t n = 0; n < tile.n_rows; ++n)
        if (tile.label[n] == k && tile.row_scale[n] > T(0)) {
            tile.list[count] = static_cast<std::int32_t>(n);
            tile.list_weight[count++] = tile.row_scale[n];
        }
    return count;
}

// Adds the moments of the listed rows about `mean`, in sums or only the outer products.
// The weights in tile.list_weight become their roots.
template <class T>
void listed_moments(const Model<T>& model, Tile<T>& tile, std::int64_t n_listed, const T* mean,
                    double* sums, double* second) {
    using V = Lanes<T>;
    constexpr int W = V::width;
    const std::int64_t D = model.n_features, P = model.padded_features;
    const bool outer = model.moments == Moments::full || model.moments == Moments::tied;
    const std::int64_t stride = tile.panel_stride, chunk = tile.panel_size / stride;
    if (sums)
        for (std::int64_t n = 0; n < n_listed; ++n)
            sums[0] += static_cast<double>(tile.list_weight[n]);
    T* roots = tile.list_weight;
    for (std::int64_t n = 0; n < n_listed; n += W) sqrt(V::load(roots + n)).store(roots + n);
    for (std::int64_t start = 0; start < n_listed; start += chunk) {
        const std::int64_t n = n_listed - start < chunk ? n_listed - start : chunk;
        for (std::int64_t m = 0; m < n; ++m) {
            const V root = V::set(roots[start + m]);
            const T* x = tile.row_major + static_cast<std::int64_t>(tile.list[start + m]) * P;
            T* u = tile.panel + m * stride;
            for (std::int64_t d = 0; d < P; d += W)
                (root * (V::load(x + d) - V::load(mean + d))).store(u + d);
        }
        if (sums)
            for (std::int64_t d = 0; d < D; d += W) {
                V first = V::zero(), square = V::zero();
                for (std::int64_t m = 0; m < n; ++m) {
                    const V u = V::load(tile.panel + m * stride + d);
                    first = fma(V::set(roots[start + m]), u, first);
                    square = fma(u, u, square);
                }
                T lanes[2][W];
                first.store(lanes[0]);
                square.store(lanes[1]);
                for (int j = 0; j < W && d + j < D; ++j) {
                    sums[1 + d + j] += static_cast<double>(lanes[0][j]);
                    if (model.moments == Moments::diag)
                        second[d + j] += static_cast<double>(lanes[1][j]);
                    else if (model.moments == Moments::spherical)
                        second[0] += static_cast<double>(lanes[1][j]);
                }
            }
        if (outer) outer_products(tile.panel, stride, n, D, second);
    }
}

// Scatter of the rows about the shift, weighted by the mass their responsibilities have: what a
// tied model needs besides the first moments.
template <class T>
void total_scatter(const Model<T>& model, Tile<T>& tile, double* pooled) {
    constexpr int G = group_rows<T>;
    std::int64_t count = 0;
    for (std::int64_t n = 0; n < tile.n_rows; ++n) {
        T mass = T(0);
        if (tile.assignment == Assignment::posterior)
            mass = tile.row_scale[n] > T(0) ? tile.row_weight[n] : T(0);
        else
            for (std::int64_t k = 0; k < model.n_components; ++k)
                mass += tile.joint[n / G * model.joint_stride + k * G + n % G] * tile.row_scale[n];
        if (!(mass > T(0))) continue;
        tile.list[count] = static_cast<std::int32_t>(n);
        tile.list_weight[count++] = mass;
    }
    for (std::int64_t d = 0; d < model.padded_features; ++d) tile.group_scratch[d] = T(0);
    listed_moments<T>(model, tile, count, tile.group_scratch, nullptr, pooled);
}

// Sums of rows by label: one addition a row and feature.
template <class T>
void label_means(const Model<T>& model, const Tile<T>& tile, std::int64_t first, std::int64_t last,
                 double* listed) {
    const std::int64_t D = model.n_features, P = model.padded_features;
    for (std::int64_t n = 0; n < tile.n_rows; ++n) {
        const std::int64_t k = tile.label[n];
        const double r = static_cast<double>(tile.row_scale[n]);
        if (k < first || k >= last || !(r > 0)) continue;
        double* sums = listed + k * model.listed_stride;
        const T* x = tile.row_major + n * P;
        const T* centre = model.centres + k * P;
        sums[0] += r;
        for (std::int64_t d = 0; d < D; ++d)
            sums[1 + d] += r * static_cast<double>(x[d] - centre[d]);
    }
}

template <class T>
void summary_step(const Model<T>& model, Tile<T>& tile, std::int64_t first, std::int64_t last,
                  double* dense, double* listed, double* pooled) {
    const bool tied = model.moments == Moments::tied;
    bool any_listed = false, any_dense = false;
    for (std::int64_t k = first; k < last; ++k) (model.listed[k] ? any_listed : any_dense) = true;
    if (any_dense) dense_moments(model, tile, first, last, dense);
    if (any_listed || (tied && first == 0)) load_row_major(tile, model);
    if (tied && any_dense && first == 0) total_scatter(model, tile, pooled);
    if (!any_listed) return;
    if (by_label(tile) && model.moments == Moments::means) {
        label_means(model, tile, first, last, listed);
        return;
    }
    for (std::int64_t k = first; k < last; ++k) {
        if (!model.listed[k]) continue;
        const std::int64_t n = list_rows(model, tile, k);
        double* sums = listed + k * model.listed_stride;
        listed_moments(model, tile, n, model.centres + k * model.padded_features, sums,
                       tied ? pooled : sums + 1 + model.n_features);
    }
}
