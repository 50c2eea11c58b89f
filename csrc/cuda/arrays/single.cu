#include "cuda/arrays/launch_call.h"

namespace vbfast::cuda::arrays {

template void launch_call<float>(const DeviceCall&, const Grid&, Reduction, const Mapping*,
                                 cudaStream_t);

}  // namespace vbfast::cuda::arrays
