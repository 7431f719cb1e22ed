// Exists to compile the shared precompiled header (src/CMakeLists.txt).
