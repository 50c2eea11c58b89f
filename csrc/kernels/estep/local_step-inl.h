// The local step of a tile: the rows are loaded, and the request decides which of the ways to
// responsibilities they go. See Kernels::local_step in table.h.

template <class T>
void local_step(const Model<T>& model, Tile<T>& tile) {
    tile.sums = no_sums;
    tile.sparse = false;
    const bool squared_norm = model.nearest || model.moments == Moments::spherical;
    if (!load_features(tile, model.n_features, model.origin, squared_norm)) return;
    if (model.nearest) {
        nearest_step(model, tile);
        return;
    }
    if (tile.assignment == Assignment::posterior) {
        posterior_step(model, tile);
        tile.sparse = is_sparse(model, tile);
        return;
    }
    log_joint(model, tile, [&](std::int64_t g) {
        if (tile.squares_overflow || model.extreme) settle_undefined(model, tile, g);
    });
    if (stops(tile)) return;
    if (by_label(tile))
        label_step(model, tile);
    else
        given_step(model, tile);
}
