// The summary step of a tile: each component's moments come from the dense product or from the rows
// that it gathers. See Kernels::summary_step in table.h.

template <class T>
void summary_step(const Model<T>& model, Tile<T>& tile, std::int64_t first, std::int64_t last,
                  double* dense, double* gathered, double* pooled) {
    const bool is_pooled = model.moments == Moments::pooled && pooled;
    bool any_gathered = false, any_dense = false;
    for (std::int64_t k = first; k < last; ++k)
        (model.gathered[k] ? any_gathered : any_dense) = true;
    const bool sparse = any_dense && dense && tile.sparse;
    if (any_gathered || sparse) load_row_major(tile, model);
    if (sparse)
        sparse_moments(model, tile, first, last, dense);
    else if (any_dense && dense && model.direct && !tile.squares_overflow)
        direct_moments(model, tile, first, last, dense);
    else if (any_dense && dense)
        dense_moments(model, tile, first, last, dense);
    if (is_pooled && any_dense && first == 0) total_scatter(model, tile, pooled);
    if (!any_gathered) return;
    if (by_label(tile) && model.moments == Moments::first) {
        label_means(model, tile, first, last, gathered);
        return;
    }
    for (std::int64_t k = first; k < last; ++k) {
        if (!model.gathered[k]) continue;
        const std::int64_t n = gather_rows(model, tile, k);
        double* sums = gathered + k * model.gathered_stride;
        gathered_moments(model, tile, n, model.centres + k * model.padded_features, sums,
                         is_pooled ? pooled : sums + 1 + model.n_features);
    }
}
