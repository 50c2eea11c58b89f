// Parameters of maps from the state of a slice: (parameter), `stride` numbers apart. They are
// computed in float64 and rounded to T once.
//
// Used by the kernels and by the driver, each of which includes this in a namespace of its own:
// both must skip the same slices.

// SciPy's answer for a slice without a finite maximum is NaN.
template <class T>
void softmax_parameters(const double* state, std::int64_t plane, T* parameters,
                        std::int64_t stride) {
    const bool finite = state[0] * 0 == 0;
    parameters[0] = static_cast<T>(finite ? state[0] : 0);
    parameters[stride] = static_cast<T>(finite ? 1 / state[plane] : runtime::not_a_number);
}

// The bound's gradient is zero in a slice of zero weight, or whose log-joint is -inf throughout.
// Where the bound is not finite otherwise, that in the logits of q is NaN; that in the log-joint is
// q, NaN only where q is.

template <class T>
void posterior_gradient_parameters(const double* state, std::int64_t plane, double weight,
                                   T* parameters, std::int64_t stride) {
    const double reference = state[0], sum = state[plane];
    const bool finite = reference * 0 == 0;
    double scale = weight / sum;
    if (!finite) scale = reference < 0 && sum == 0 ? 0 : runtime::not_a_number;
    if (weight == 0) scale = 0;
    parameters[0] = static_cast<T>(finite ? reference : 0);
    parameters[stride] = static_cast<T>(scale);
}

template <class T>
void gradient_parameters(const double* state, std::int64_t plane, double weight, T* parameters,
                         std::int64_t stride) {
    const double q_reference = state[0], reference = state[plane];
    const double q_sum = state[2 * plane], gap = state[4 * plane] - state[3 * plane];
    const double sum = state[5 * plane];
    const bool finite = q_reference * 0 == 0 && reference * 0 == 0 && gap * 0 == 0 && sum * 0 == 0;
    const bool skipped = weight == 0 || (reference < 0 && sum == 0);
    // q is finite where only the bound is not.
    parameters[0] = static_cast<T>(q_reference * 0 == 0 ? q_reference : 0);
    parameters[stride] = static_cast<T>(finite ? reference : 0);
    parameters[2 * stride] = static_cast<T>(skipped                ? 0
                                            : q_reference * 0 == 0 ? weight / q_sum
                                                                   : runtime::not_a_number);
    parameters[3 * stride] = static_cast<T>(skipped  ? 0
                                            : finite ? gap / q_sum
                                                     : runtime::not_a_number);
}
