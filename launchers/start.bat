@echo off
rem Sets Easel up where needed, then starts it.  Flags are those of app.py; --repair checks every installed file first.
rem No delayed expansion: it would eat every "!" in a path.  This file stays plain ASCII, so the code page cannot break it.
setlocal EnableExtensions DisableDelayedExpansion
title Easel
chcp 65001 >nul
set "PYTHONUTF8=1"
set "PYTHONHOME="
set "PYTHONPATH="
set "HERE=%~dp0"
set "CHECK=import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14) or sys.maxsize < 2**32)"

rem 1. the one that the person chose
if not defined EASEL_PYTHON goto launcher
"%EASEL_PYTHON%" -c "%CHECK%" >nul 2>&1
if errorlevel 1 goto launcher
"%EASEL_PYTHON%" "%HERE%install.py" start %*
goto done

rem 2. the py launcher, which knows every installed Python; the versions in the order of our liking
:launcher
where py >nul 2>&1
if errorlevel 1 goto path
for %%V in (3.12 3.13 3.11 3.14) do (
  py -%%V -c "%CHECK%" >nul 2>&1 && set "VERSION=%%V" && goto found
)
goto path
:found
py -%VERSION% "%HERE%install.py" start %*
goto done

rem 3. python on the PATH; the Microsoft Store's stand-in of that name fails the check
:path
python -c "%CHECK%" >nul 2>&1
if errorlevel 1 goto folders
python "%HERE%install.py" start %*
goto done

rem 4. where winget and python.org's installer put it: a window that was open before knows no new PATH
:folders
for %%V in (312 313 311 314) do (
  "%LOCALAPPDATA%\Programs\Python\Python%%V\python.exe" -c "%CHECK%" >nul 2>&1 && set "VERSION=%%V" && goto foundfolder
)
goto missing
:foundfolder
"%LOCALAPPDATA%\Programs\Python\Python%VERSION%\python.exe" "%HERE%install.py" start %*
goto done

:missing
echo Easel needs a 64-bit Python 3.11 to 3.14, and none was found. This command brings one:
echo.
echo     winget install --exact --id Python.Python.3.12
echo.
echo Then start Easel again. Without winget: https://www.python.org/downloads/
if not defined CI pause
exit /b 1

:done
set "STATUS=%ERRORLEVEL%"
rem a window that was opened by a double click would close before the sentence is read
if not "%STATUS%"=="0" if not defined CI pause
exit /b %STATUS%
