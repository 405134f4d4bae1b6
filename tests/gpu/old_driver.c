// A driver that answers as one that is too old, or that finds no card: ANSWER is what cuInit returns, VERSION what it knows.
int cuInit(unsigned flags) {
    (void)flags;
    return ANSWER;
}

int cuDriverGetVersion(int *version) {
    *version = VERSION;
    return 0;
}
