# Warnings are errors, with gcc and with clang, unless ration is part of another project.
add_library(ration_warnings INTERFACE)
target_compile_options(ration_warnings INTERFACE
  -Wall -Wextra -Wshadow -Wundef -Wpointer-arith -Wcast-qual -Wwrite-strings
  -Wvla -Wformat=2 -Wno-unused-command-line-argument
  $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition>)
if(RATION_WERROR)
  target_compile_options(ration_warnings INTERFACE -Werror)
endif()
