#include "api.h"

int main(int argc, char **argv)
{
    return shadow_main(argc, argv);
}
