# The limits of the medians are resampled with random numbers of another generator, and are not printed here.
adtte <- dataset("adtte")
adeff <- dataset("adeff")
ck <- adeff[adeff$PARAMCD == "CK" & is(adeff$ANL02FL, "Y") & !is.na(adeff$ANRIND), ]
ck <- data.frame(who = ck$USUBJID, day = number(ck$ADY0), normal = ck$ANRIND == "NORMAL")
ck <- ck[order(ck$day), ]

# The nonparametric maximum likelihood estimate (Turnbull 1976) by EM steps, until no mass could raise the likelihood.
turnbull <- function(left, right) {
  points <- sort(unique(c(left, right)))
  here <- which(head(points %in% left, -1) & tail(points %in% right, -1))
  from <- points[here]
  to <- points[here + 1]
  covers <- outer(left, from, "<=") & outer(right, to, ">=")
  mass <- rep(1 / length(here), length(here))
  for (step in 1:200000) {
    chance <- as.vector(covers %*% mass)
    slope <- colMeans(covers / chance)
    if (max(slope) - 1 < 1e-11 && max(abs(mass * (slope - 1))) < 1e-14) break
    mass <- mass * slope
  }
  kept <- mass > 1e-9
  list(left = from[kept], right = to[kept], mass = mass[kept], log_likelihood = sum(log(covers %*% mass)))
}
show_turnbull <- function(place, left, right) {
  show(paste0(place, "/n"), length(left))
  show(paste0(place, "/events"), sum(is.finite(right)))
  if (length(left) == 0) return(invisible())
  fit <- turnbull(left, right)
  show(paste0(place, "/log_likelihood"), fit$log_likelihood)
  for (i in seq_along(fit$mass)) {
    row <- paste0(place, "/masses/", i - 1)
    show(paste0(row, "/left"), fit$left[i])
    show(paste0(row, "/right"), fit$right[i])
    show(paste0(row, "/mass"), fit$mass[i])
  }
  after <- 1 - cumsum(fit$mass)
  crossed <- which(is.finite(fit$right) & after < 0.5 + 1e-8)
  i <- if (length(crossed)) crossed[1] else length(fit$mass)
  half <- i + as.numeric(length(crossed) && abs(after[i] - 0.5) <= 1e-8 && i < length(after) && is.finite(fit$right[i + 1]))
  show(paste0(place, "/median/left"), mean(fit$left[c(i, half)]))
  show(paste0(place, "/median/right"), if (length(crossed)) mean(fit$right[c(i, half)]))
}
stays <- adtte[adtte$PARAMCD == "CKNORM", ]
limits <- lapply(seq_len(nrow(stays)), function(i) {
  mine <- ck[ck$who == stays$USUBJID[i], ]
  start <- day(stays$STARTDT[i]) - day(stays$TRTSDT[i])
  mine <- mine[mine$day >= start, ]
  ended <- which(!mine$normal)
  if (length(ended)) c(mine$day[ended[1] - 1], mine$day[ended[1]]) - start else c(max(mine$day) - start, Inf)
})
show_turnbull("/results/0/estimate", vapply(limits, `[`, 0, 1), vapply(limits, `[`, 0, 2))
first <- adtte[adtte$PARAMCD == "TTNORM", ]
limits <- lapply(seq_len(nrow(first)), function(i) {
  mine <- ck[ck$who == first$USUBJID[i] & ck$day > 0, ]
  reached <- which(mine$normal)
  if (length(reached)) c(c(0, mine$day)[reached[1]], mine$day[reached[1]]) else c(max(0, mine$day), Inf)
})
show_turnbull("/results/0/time_to_first_normal/estimate", vapply(limits, `[`, 0, 1), vapply(limits, `[`, 0, 2))
