// Log-joints of the linear form whose terms, or sums of them, overflow.
//
// In: tile.joint of a linear form (linear_form-inl.h), tile.features, and the model.
// Out: tile.joint and tile.row_max with the sums as they are: finite where the product is, though
// its terms may not be.
//
// Error: terms are added up in float64, relative to the largest one so far, which is scaled by a
// power of two.
//
// One row and one component after the other: such rows are few.

// mantissa 2^exponent, with a mantissa of 1/2 to 1 in size, or zero.
struct ScaledNumber {
    double mantissa;
    int exponent;
};

// x_n theta_k.
template <class T>
ScaledNumber scaled_product(const Model<T>& model, const Tile<T>& tile, std::int64_t n,
                            std::int64_t k) {
    constexpr int G = group_rows<T>;
    const std::int64_t D = model.n_features;
    const T* x = tile.features + n / G * (D + 2) * G + n % G;
    const T* theta = theta_of(model, k);
    ScaledNumber sum = {0, 0};
    for (std::int64_t d = 0; d < D; ++d) {
        int of_x, of_theta;
        const double term =
            frexp(static_cast<double>(x[d * G]), &of_x) *
            frexp(static_cast<double>(theta[d * Blocking::distance_components]), &of_theta);
        if (term == 0) continue;
        const int exponent = of_x + of_theta;
        if (sum.mantissa == 0 || exponent > sum.exponent)
            sum = {ldexp(sum.mantissa, sum.exponent - exponent), exponent};
        sum.mantissa += ldexp(term, exponent - sum.exponent);
    }
    int more;
    sum.mantissa = frexp(sum.mantissa, &more);
    sum.exponent += more;
    return sum;
}

// Evaluates log-joints of a group that are not finite again, and the maxima of its rows. The
// log-joint of a component whose offset is not finite is that.
template <class T>
[[gnu::noinline]] void settle_undefined_products(const Model<T>& model, Tile<T>& tile,
                                                 std::int64_t g) {
    constexpr int G = group_rows<T>;
    const auto is_finite = [](T value) { return value - value == T(0); };
    for (std::int64_t n = g * G; n < g * G + G; ++n) {
        T largest = -static_cast<T>(runtime::infinity);
        for (std::int64_t k = 0; k < model.n_components; ++k) {
            T& value = tile.joint[g * model.joint_stride + k * G + n % G];
            if (!is_finite(value)) {
                value = model.offset[k];
                if (is_finite(value)) {
                    const ScaledNumber product = scaled_product(model, tile, n, k);
                    value = static_cast<T>(static_cast<double>(value) +
                                           ldexp(product.mantissa, product.exponent));
                }
            }
            if (value > largest) largest = value;
        }
        tile.row_max[n] = largest;
    }
}
