# Stands in for a build of Slicer (-DSlicer_DIR=<this folder>): whatever the extension tells Slicer's macros is written
# to recorded.txt in the build folder, one "NAME value" a line, and nothing is built.
set(Slicer_USE_FILE "${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake")
set(Slicer_EXTENSION_GENERATE_CONFIG "${CMAKE_CURRENT_LIST_DIR}/ExtensionGenerateConfig.cmake")
set(Slicer_EXTENSION_CPACK "${CMAKE_CURRENT_LIST_DIR}/ExtensionCPack.cmake")
