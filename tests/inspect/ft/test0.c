/* The baseline: the work of test1 without its requests. */
int main(void)
{
    volatile char room[1] = {0};
    for (int i = 0; i < 1024; i++)
        room[0] = 42;
    return room[0] == 42 ? 0 : 1;
}
