"""VerSe's values of the levels that tests name."""

C1, C7 = 1, 7
T1, T2, T5, T10, T11, T12, T13 = 8, 9, 12, 17, 18, 19, 28
L1, L2, L3, L4, L5, L6 = 20, 21, 22, 23, 24, 25
