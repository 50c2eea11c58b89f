// Armadillo's EM behind functions of C. Its columns are our rows, so that no array is copied but
// for the parameters, which go in and out.
#include <armadillo>

namespace {

template <typename T>
arma::Mat<T> columns(T* values, arma::uword height, arma::uword width) {
    return arma::Mat<T>(values, height, width, false, true);
}

// The arguments: sizes, the floor of variances, rows (N, D), weights (K), means (K, D).
template <typename T, typename Mixture, typename Covariances>
int learn(Mixture& mixture, size_t N, size_t D, size_t K, size_t iterations, double floor, T* rows,
          T* weights, T* means, const Covariances& covariances) {
    mixture.set_params(columns(means, D, K), covariances, arma::Row<T>(weights, K));
    const bool learnt = mixture.learn(columns(rows, D, N), K, arma::eucl_dist, arma::keep_existing,
                                      0, iterations, T(floor), false);
    std::copy(mixture.hefts.begin(), mixture.hefts.end(), weights);
    std::copy(mixture.means.begin(), mixture.means.end(), means);
    return learnt;
}

template <typename T, typename Mixture>
int learn_full(size_t N, size_t D, size_t K, size_t iterations, double floor, T* rows, T* weights,
               T* means, T* covariances) {
    Mixture mixture;
    const int learnt = learn(mixture, N, D, K, iterations, floor, rows, weights, means,
                             arma::Cube<T>(covariances, D, D, K));
    std::copy(mixture.fcovs.begin(), mixture.fcovs.end(), covariances);
    return learnt;
}

template <typename T, typename Mixture>
int learn_diag(size_t N, size_t D, size_t K, size_t iterations, double floor, T* rows, T* weights,
               T* means, T* covariances) {
    Mixture mixture;
    const int learnt = learn(mixture, N, D, K, iterations, floor, rows, weights, means,
                             arma::Mat<T>(covariances, D, K));
    std::copy(mixture.dcovs.begin(), mixture.dcovs.end(), covariances);
    return learnt;
}

}  // namespace

extern "C" {

int version_part(int part) {
    const int parts[] = {ARMA_VERSION_MAJOR, ARMA_VERSION_MINOR, ARMA_VERSION_PATCH};
    return parts[part];
}

int learn_full_double(size_t N, size_t D, size_t K, size_t iterations, double floor, double* rows,
                      double* weights, double* means, double* covariances) {
    return learn_full<double, arma::gmm_full>(N, D, K, iterations, floor, rows, weights, means,
                                              covariances);
}

int learn_full_float(size_t N, size_t D, size_t K, size_t iterations, double floor, float* rows,
                     float* weights, float* means, float* covariances) {
    return learn_full<float, arma::fgmm_full>(N, D, K, iterations, floor, rows, weights, means,
                                              covariances);
}

int learn_diag_double(size_t N, size_t D, size_t K, size_t iterations, double floor, double* rows,
                      double* weights, double* means, double* covariances) {
    return learn_diag<double, arma::gmm_diag>(N, D, K, iterations, floor, rows, weights, means,
                                              covariances);
}

int learn_diag_float(size_t N, size_t D, size_t K, size_t iterations, double floor, float* rows,
                     float* weights, float* means, float* covariances) {
    return learn_diag<float, arma::fgmm_diag>(N, D, K, iterations, floor, rows, weights, means,
                                              covariances);
}
}
