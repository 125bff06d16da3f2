/* A library that does nothing: what preloading costs by itself. */
int bench_empty(void);

int bench_empty(void)
{
    return 0;
}
