# What `cmake --install` and cpack put where: the program, the CMake package that makes suites tests of ctest, headers,
# man page and completions (the program prints them itself), documents.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/attest)
configure_package_config_file(${PROJECT_SOURCE_DIR}/ci/cmake/attestConfig.cmake.in
  ${PROJECT_BINARY_DIR}/package/attestConfig.cmake INSTALL_DESTINATION ${package_dir}
  PATH_VARS CMAKE_INSTALL_INCLUDEDIR)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/package/attestConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)

install(TARGETS attest EXPORT attestTargets RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY ${PROJECT_BINARY_DIR}/include/attest DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT attestTargets NAMESPACE attest:: DESTINATION ${package_dir})
install(FILES
  ${PROJECT_BINARY_DIR}/package/attestConfig.cmake
  ${PROJECT_BINARY_DIR}/package/attestConfigVersion.cmake
  ${PROJECT_SOURCE_DIR}/ci/cmake/AttestSuite.cmake
  DESTINATION ${package_dir})
install(FILES README.md CHANGELOG.md cases/semantics.md reports/schema.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright)
install(DIRECTORY ci/ledger DESTINATION ${CMAKE_INSTALL_DATADIR}/attest)
install(DIRECTORY harness/gtest/example DESTINATION ${CMAKE_INSTALL_DOCDIR})

# What the program says about itself, once it is built.
find_program(GZIP_PROGRAM gzip REQUIRED)
set(printed ${PROJECT_BINARY_DIR}/package/printed)
file(MAKE_DIRECTORY ${printed})
add_custom_command(OUTPUT ${printed}/attest.1.gz ${printed}/attest.bash ${printed}/_attest
  COMMAND $<TARGET_FILE:attest> completion man > ${printed}/attest.1
  COMMAND ${GZIP_PROGRAM} -9nf ${printed}/attest.1
  COMMAND $<TARGET_FILE:attest> completion bash > ${printed}/attest.bash
  COMMAND $<TARGET_FILE:attest> completion zsh > ${printed}/_attest
  DEPENDS attest COMMENT "Printing man page and completions" VERBATIM)
add_custom_target(attest_printed ALL DEPENDS ${printed}/attest.1.gz ${printed}/attest.bash ${printed}/_attest)
install(FILES ${printed}/attest.1.gz DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${printed}/attest.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME attest)
# Debian's zsh looks elsewhere for what packages bring than for what is installed by hand.
install(CODE "
  set(zsh_dir site-functions)
  if(CMAKE_INSTALL_PREFIX STREQUAL \"/usr\")
    set(zsh_dir vendor-completions)
  endif()
  file(INSTALL \"${printed}/_attest\" DESTINATION
    \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_DATADIR}/zsh/\${zsh_dir}\")")

set(CPACK_GENERATOR TGZ)
if(EXISTS /etc/debian_version)
  list(APPEND CPACK_GENERATOR DEB)
endif()
set(CPACK_PACKAGE_NAME attest)
set(CPACK_PACKAGE_VENDOR "attest maintainers")
set(CPACK_PACKAGE_CONTACT "attest maintainers")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY ${PROJECT_DESCRIPTION})
set(CPACK_PACKAGE_DESCRIPTION "Asks every backend the same generated questions, works each answer out twice by other
means, derives for every output element how far off a correct kernel may be, and rules.")
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION devel)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "clang-19, libclang-rt-19-dev")  # metal:sim
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "cmake, gdb, libgtest-dev, libgmock-dev")
include(CPack)
