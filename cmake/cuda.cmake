# The target cuda needs nvcc: EXPERTILE_CUDA is on where one is found. Without it the target's row says that it is not
# in the build.
include(CheckLanguage)
check_language(CUDA)
set(EXPERTILE_CUDA OFF)
if(CMAKE_CUDA_COMPILER)
  # Hopper's own instructions (wgmma, setmaxnreg) exist for this architecture alone.
  set(CMAKE_CUDA_ARCHITECTURES 90a-real)
  enable_language(CUDA)
  # CMake 3.25 does not know that nvcc has C++20.
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
  find_package(CUDAToolkit REQUIRED)
  set(EXPERTILE_CUDA ON)
else()
  message(STATUS "No nvcc was found: the target cuda is left out of this build")
endif()
