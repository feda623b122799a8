#!/bin/sh
# prune_torch.sh SITE_PACKAGES: drop the CUDA files that importing torch on a machine without a GPU never opens
# (about 0.8 GB). The rest of nvidia/ must stay: libtorch_cuda.so needs it at load.
set -eu
cd "$1"
if [ ! -e nvidia/cu13/lib/libcudart.so.13 ]; then
    echo "prune_torch.sh: $1 does not hold the CUDA 13 build of torch; nothing was removed" >&2
    exit 1
fi
rm -rf nvidia/cudnn/lib/libcudnn_*.so* nvidia/*/include nvidia/*/bin nvidia/cu13/nvvm \
    nvidia/*/lib/*.a nvidia/*/lib/*.bc nvidia/*/lib/cmake
rm -f nvidia/cu13/lib/libnvrtc.alt* nvidia/cu13/lib/libnvrtc-builtins.alt* nvidia/cu13/lib/libcufftw* \
    nvidia/cu13/lib/libnvblas* nvidia/cu13/lib/libnvperf* nvidia/cu13/lib/libpcsampl* nvidia/cu13/lib/libcheckpoint*
rm -f nvidia/nvshmem/lib/nvshmem_transport* nvidia/nvshmem/lib/nvshmem_bootstrap* \
    torch/lib/libtorch_cuda_linalg.so torch/bin/protoc*
