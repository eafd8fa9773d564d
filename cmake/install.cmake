# `cmake --install`: the library, its headers and its CMake package; the command. CPack: a Debian package of the command.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(EXPERTILE_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/expertile)
install(TARGETS expertile_library EXPORT expertile-targets COMPONENT development)
install(DIRECTORY include/expertile TYPE INCLUDE COMPONENT development FILES_MATCHING PATTERN "*.h")
install(EXPORT expertile-targets NAMESPACE expertile:: DESTINATION ${EXPERTILE_PACKAGE_DIR} COMPONENT development)
configure_package_config_file(cmake/expertile-config.cmake.in expertile-config.cmake
                              INSTALL_DESTINATION ${EXPERTILE_PACKAGE_DIR})
# Before version 1 a minor version may change what others compile against.
write_basic_package_version_file(expertile-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/expertile-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/expertile-config-version.cmake
        DESTINATION ${EXPERTILE_PACKAGE_DIR} COMPONENT development)
if(NOT EXPERTILE_BUILD_CLI)
  return()
endif()
install(TARGETS expertile COMPONENT command)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright COMPONENT command)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME expertile)
set(CPACK_PACKAGE_VENDOR "The Expertile project")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL command)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_COMMAND_PACKAGE_NAME expertile)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_MAINTAINER "The Expertile project <expertile@localhost>")
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_COMPONENT_COMMAND_DESCRIPTION "${PROJECT_DESCRIPTION}
 The experts of each layer are spread over N processors, each of which runs its own on useful rows only.
 Loads Hugging Face checkpoints of Qwen3-MoE, Qwen3-VL-MoE, GPT-OSS and GraniteMoE as they are.")
include(CPack)
