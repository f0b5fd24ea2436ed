# What `cmake --install` puts where: the program and the CMake package that makes suites tests of ctest.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/attest)
configure_package_config_file(${PROJECT_SOURCE_DIR}/ci/cmake/attestConfig.cmake.in
  ${PROJECT_BINARY_DIR}/package/attestConfig.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/package/attestConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)

install(TARGETS attest EXPORT attestTargets RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(EXPORT attestTargets NAMESPACE attest:: DESTINATION ${package_dir})
install(FILES
  ${PROJECT_BINARY_DIR}/package/attestConfig.cmake
  ${PROJECT_BINARY_DIR}/package/attestConfigVersion.cmake
  ${PROJECT_SOURCE_DIR}/ci/cmake/AttestSuite.cmake
  DESTINATION ${package_dir})
install(FILES README.md CHANGELOG.md cases/semantics.md reports/schema.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright)
install(DIRECTORY ci/ledger DESTINATION ${CMAKE_INSTALL_DATADIR}/attest)
