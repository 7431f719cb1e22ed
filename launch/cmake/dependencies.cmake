# Imported targets for every library weft stands on. A missing one is named together with what installs it.

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

# libtorch as the PyPI wheel unpacks it. Its own CMake package wants a CUDA toolkit and adds flags of its own, so the targets are ours.
if(NOT EXISTS "${WEFT_TORCH}/include/ATen/ATen.h")
  message(FATAL_ERROR "libtorch is not at WEFT_TORCH=${WEFT_TORCH}. Run launch/setup, or pass -DWEFT_TORCH=DIR of a torch 2.11 package.")
endif()
add_library(weft_torch INTERFACE)
add_library(weft::torch ALIAS weft_torch)
target_include_directories(weft_torch SYSTEM INTERFACE "${WEFT_TORCH}/include" "${WEFT_TORCH}/include/torch/csrc/api/include")
target_link_libraries(weft_torch INTERFACE "${WEFT_TORCH}/lib/libtorch_cpu.so" "${WEFT_TORCH}/lib/libc10.so" Threads::Threads)
# The wheel's NVIDIA parts lie beside it; the loader needs them by name.
file(GLOB WEFT_NVIDIA_LIBS LIST_DIRECTORIES true "${WEFT_TORCH}/../nvidia/*/lib")
target_link_options(weft_torch INTERFACE "-Wl,-rpath,${WEFT_TORCH}/lib")
foreach(dir IN LISTS WEFT_NVIDIA_LIBS)
  target_link_options(weft_torch INTERFACE "-Wl,-rpath,${dir}" "-Wl,-rpath-link,${dir}")
endforeach()

# CUDA: the runtime only. libcuda is never linked, so that the program starts without a GPU; libtorch_cuda is opened at run time (src/device/cuda.cpp).
set(WEFT_HAVE_CUDA 0)
if(NOT WEFT_CUDA STREQUAL "off")
  find_package(CUDAToolkit QUIET)
  if(CUDAToolkit_FOUND AND EXISTS "${WEFT_TORCH}/lib/libc10_cuda.so")
    set(WEFT_HAVE_CUDA 1)
    add_library(weft_torch_cuda INTERFACE)
    add_library(weft::torch_cuda ALIAS weft_torch_cuda)
    target_link_libraries(weft_torch_cuda INTERFACE weft::torch "${WEFT_TORCH}/lib/libc10_cuda.so" CUDA::cudart)
  elseif(WEFT_CUDA STREQUAL "on")
    message(FATAL_ERROR "WEFT_CUDA=on, but no CUDA toolkit was found, or libtorch has no libc10_cuda.so. Install the toolkit, or say -DWEFT_CUDA=off.")
  endif()
endif()

find_package(spdlog REQUIRED)
find_package(fmt REQUIRED)
find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
find_path(TOMLPLUSPLUS_INCLUDE toml++/toml.h REQUIRED)
pkg_check_modules(HDF5 REQUIRED IMPORTED_TARGET hdf5-serial)
pkg_check_modules(FFMPEG REQUIRED IMPORTED_TARGET libavformat libavcodec libswscale libavutil)
pkg_check_modules(JPEG REQUIRED IMPORTED_TARGET libjpeg)
message(STATUS "weft ${PROJECT_VERSION}: libtorch ${WEFT_TORCH}, CUDA ${WEFT_HAVE_CUDA}")
